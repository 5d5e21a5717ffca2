"""Teaching: what a lesson shows and checks. Nothing outside this folder imports it but the workbook and the command line."""
