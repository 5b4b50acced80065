"""The page of a run: report.html and its pictures."""

from jaxmeta.report.beside import beside_exact as beside_exact
from jaxmeta.report.classes import mistakes as mistakes
from jaxmeta.report.classes import per_class as per_class
from jaxmeta.report.confidence import calibration as calibration
from jaxmeta.report.finished import Finished as Finished
from jaxmeta.report.lines import inner_steps as inner_steps
from jaxmeta.report.lines import line as line
from jaxmeta.report.pictures import images as images
from jaxmeta.report.regression import curves as curves
from jaxmeta.report.report import write_report as write_report
