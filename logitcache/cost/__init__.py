"""What distillation costs, before and after: measured in turn, and recorded with the machine."""
