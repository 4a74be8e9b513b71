"""What distillation costs, before and after: measured in turn, written down with the machine it was
measured on.
"""
