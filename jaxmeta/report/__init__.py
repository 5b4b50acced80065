"""The page of a run: report.html and its pictures."""

from jaxmeta.report.finished import Finished as Finished
from jaxmeta.report.pictures import images as images
from jaxmeta.report.pictures import inner_steps as inner_steps
from jaxmeta.report.report import write_report as write_report
