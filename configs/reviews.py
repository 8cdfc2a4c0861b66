"""Reviews: a pretrained encoder, fine-tuned on a shop's reviews, teaches networks a tenth of its size and less.

`path` is a file with a text and a label a row, `encoder` a folder of Hugging Face's with config.json,
model.safetensors and its tokenizer (the extra `text`), whose tokens the students read, too.

    kdjax run --config=configs/reviews.py:path=reviews.tsv,encoder=all-MiniLM-L6-v2
    kdjax run --config=configs/reviews.py:path=...,encoder=...,student=bert           # of layers of the teacher
    kdjax run --config=configs/reviews.py:path=...,encoder=...,student=bilstm --config.data.split_seed=1
    kdjax run --config=configs/reviews.py:path=...,encoder=...,transfer=others.txt    # texts without labels, too

The test split is drawn, a fifth of the rows, unless a column or files say it (kdjax list tsv). With few reviews a
teacher has little to say that they do not say themselves: look at the interval before you ship. With `transfer`, a file
of texts that nobody has labelled, rows ending in _transfer learn from them, too, what the teacher says of them; every
row takes the same number of steps.
"""

from kdjax import methods
from kdjax.config import default, parse_arg
from kdjax.models.text import huggingface

SIZES = {
    "bag_of_words": {"embedding": 64},
    "textcnn": {"embedding": 50, "filters": 50},
    "bilstm": {"embedding": 64, "width": 64},
}
"""Student -> its arguments; a BERT has two layers of its teacher's width."""
STEPS = 150
"""Of an epoch with a transfer set: two passes over 2,400 reviews in batches of 32."""
LAYERS = {"embeddings": "embeddings", "encoder_layer_*": "uniform"}
"""What a BERT begins as: the words and every so many layers of its teacher."""
SMALL = {"layers": 2, "width": 128, "heads": 2, "hidden": 512}
"""A BERT a third as wide, afresh: its rows end in _small."""


def get_config(arg=""):
    args = parse_arg(arg, path="", encoder="", student="textcnn", source="tsv", epochs=10, tuning=2, transfer="")
    config = default()
    config.experiment = f"reviews_{args.student}"
    config.seeds = (0, 1, 2, 3, 4)
    config.epochs = args.epochs
    config.batch_size = 32
    config.data.source, config.data.path = args.source, args.path
    config.data.validation = 0.1
    config.data.tokenizer = args.encoder or "words"
    config.references = ("tfidf",)
    config.execution.teach_once = True  # the encoder's pass costs a hundred steps of a small network
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 5e-3  # of 1e-3 to 2e-2 the best on the validation split for the text CNN alone
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 1.0
    _teacher(config, args)
    config.student.model = args.student
    config.student.kwargs = SIZES.get(args.student, {})
    for name in ("student", "kd", "logit_mse"):
        config.methods[name] = methods.recipe(name)
    if args.student == "bert":
        _layers_of_the_teacher(config)
    if args.transfer:
        config.data.transfer, config.steps_per_epoch = args.transfer, STEPS
        for name in ("kd", "logit_mse"):
            config.methods[f"{name}_transfer"] = {**methods.recipe(name), "data": {"unlabelled": True}}
    return config


def _teacher(config, args) -> None:
    config.teacher.model = "bert"
    config.teacher.start = args.encoder
    config.teacher.kwargs = huggingface.sizes(args.encoder) if args.encoder else {}
    config.teacher.epochs = args.tuning
    config.teacher.optimizer = {"learning_rate": 1e-4, "warmup_epochs": 0.2}


def _layers_of_the_teacher(config) -> None:
    config.student.kwargs = {**config.teacher.kwargs, "layers": 2}
    config.optimizer.learning_rate = 1e-4
    for name in ("layers", "kd_layers", "distilbert_layers"):
        recipe = methods.recipe("student" if name == "layers" else name.removesuffix("_layers"))
        config.methods[name] = {**recipe, "from_teacher": LAYERS}
    for name in ("student", "kd"):
        small = {"student": {"kwargs": {**config.teacher.kwargs, **SMALL}}, "optimizer": {"learning_rate": 5e-4}}
        config.methods[f"{name}_small"] = {**methods.recipe(name), **small}
