"""What distillation costs, before and after."""
