def write_report(where):
    where.report.write_text("")
