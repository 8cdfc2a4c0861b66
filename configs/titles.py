"""Titles of a shop's offers, few of them labelled: a pretrained encoder teaches a small network on all the others.

Data: a table of offers without a header, as PriceRunner's (https://archive.ics.uci.edu/dataset/837): offer, title,
merchant, product, name of the product, category, its name. A title is put into one of ten categories; offers of one
product are all in one split. `encoder` is a folder of Hugging Face's (config.json, model.safetensors, tokenizer), whose
tokens every network reads. Of `examples` titles, students see `shots` labels a category; rows ending in _unlabelled
learn from all the others, too, what the teacher says of them. Every row takes the same number of steps.

The teacher that a shop can have: the encoder, fine-tuned on the few labels of seed 0; then what it teaches:

    kdjax run --config=configs/titles.py:path=pricerunner_aggregate.csv,encoder=all-MiniLM-L6-v2,student=bert
    kdjax run --config=configs/titles.py:path=...,encoder=...,run=runs/titles_bert/student/seed0

The teacher that knows the labels of all `examples`, which no shop has, for comparison: without `run`.

    kdjax run --config=configs/titles.py:path=...,encoder=...

Cost: an encoder of six layers takes one processor second a step of 32 titles, a text CNN a thirtieth. Expected of the
first two commands (results/titles, three seeds): encoder 86.3 %, student 84.9 +- 0.9, kd 82.7, kd_unlabelled 88.4
(+3.5, p 0.037; 0.147 after Holm), logit_mse_unlabelled 88.3; TF-IDF with logistic regression 88.8 +- 2.1. The encoder
is of seed 0's labels, so that students of other seeds learn from 200 labels more than they see.
"""

from kdjax import methods
from kdjax.config import default, parse_arg
from kdjax.models.text import huggingface

COLUMNS = ("offer", "title", "merchant", "product", "name", "category", "category_name")
SIZES = {
    "bag_of_words": {"embedding": 50},
    "textcnn": {"embedding": 50, "filters": 50},
    "bilstm": {"embedding": 50, "width": 64},
}
"""Student -> its arguments; bert is the encoder itself."""
STEPS = 40
"""Of what is called an epoch here: a pass over 200 labels takes three."""


def get_config(arg=""):
    args = parse_arg(arg, path="", encoder="", student="textcnn", run="", shots=20, examples=5_000, epochs=10)
    config = default()
    config.experiment = f"titles_{args.student}" + ("_few" if args.run else "")
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.data.source, config.data.path = "csv", args.path
    config.data.columns.names = COLUMNS
    config.data.columns.text, config.data.columns.label = "title", "category_name"
    config.data.columns.group = "product"
    config.data.test = config.data.validation = 0.05
    config.data.train_examples, config.data.shots = args.examples, args.shots
    config.data.tokenizer = args.encoder or "words"
    config.data.length, config.data.buckets = 32, 1  # 95 of 100 titles are shorter; each length compiles the encoder
    config.references = ("tfidf",)
    config.execution.teach_once = True
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 1.0
    config.methods.student = methods.recipe("student")
    if args.student == "bert":
        return _encoder(config, args)
    config.steps_per_epoch = STEPS
    config.eval_every_epochs = 5
    config.student.model, config.student.kwargs = args.student, SIZES[args.student]
    config.optimizer.learning_rate = 5e-3
    _teacher(config, args)
    for name in ("kd", "logit_mse"):
        config.methods[name] = methods.recipe(name)
        config.methods[f"{name}_unlabelled"] = {**methods.recipe(name), "data": {"unlabelled": True}}
    return config


def _encoder(config, args):
    """The encoder itself, fine-tuned on the few labels: one seed of it teaches."""
    config.seeds = (0,)
    config.batch_size = 32
    config.eval_every_epochs = args.epochs
    config.student.model, config.student.start = "bert", args.encoder
    config.student.kwargs = huggingface.sizes(args.encoder) if args.encoder else {}
    config.optimizer.learning_rate = 1e-4
    return config


def _teacher(config, args) -> None:
    if args.run:
        config.teacher.run = args.run
        return
    config.teacher.model, config.teacher.start = "bert", args.encoder
    config.teacher.kwargs = huggingface.sizes(args.encoder) if args.encoder else {}
    config.teacher.epochs, config.teacher.batch_size = 1, 32
    config.teacher.optimizer = {"learning_rate": 1e-4, "warmup_epochs": 0.2}
