"""How Small Models Learn Tool Use: the helpers behind the workbook's lessons."""

__version__ = "0.1.0"
