"""The start of the process that answers statements of SQL: `python -m kd_sweep.service.http.statements BYTES`."""

import sys

from kd_sweep.tables.arrow_alone import import_arrow_alone

if __name__ == "__main__":
    import_arrow_alone()  # before anything imports pandas, a third of the start, and 30 MB

    from kd_sweep.service.http.statements.statement_process import main

    sys.exit(main(int(sys.argv[1])))
