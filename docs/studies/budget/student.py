"""The configuration of the student: 2x128 with the teacher's number of attention heads."""

from transformers import AutoTokenizer, BertConfig

size = len(AutoTokenizer.from_pretrained("models/teacher"))
BertConfig(
    vocab_size=size,
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=512,
    max_position_embeddings=128,
).save_pretrained("models/student")
