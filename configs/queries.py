"""Made up shop queries: a BiLSTM that reads a query in its order teaches smaller networks that see less of it.

Data: 8,000 and 2,000 queries in eight categories, generated from a seed (kdjax/data/text/queries.py); nothing is
downloaded. The category is that of the product that is bought, which two products and their order say ("lamp table",
"table for lamp"), and some words are misspelt. A bag of words cannot know the order, windows of a few words miss what
stands apart.

    kdjax run --config=configs/queries.py
    kdjax run --config=configs/queries.py:student=bag_of_words    # or textcnn, bilstm, bert

Cost: a teacher and 3 methods x 3 seeds in about three minutes of one CPU core, compilation included.
Expected, text CNN, five seeds (results/queries): teacher 98.0 %, student 91.2 +- 1.3, kd 93.0 +- 0.7, logit_mse
93.4 +- 0.9.
"""

from kdjax import methods
from kdjax.config import default, parse_arg

SIZES = {
    "bag_of_words": {"embedding": 32},
    "textcnn": {"embedding": 32, "filters": 8, "dropout": 0.1},
    "bilstm": {"embedding": 32, "width": 16},
    "bert": {"layers": 2, "width": 64, "heads": 2, "dropout": 0.0},
}
"""Student -> its arguments."""

METHODS = ("student", "kd", "logit_mse")


def get_config(arg=""):
    args = parse_arg(arg, student="textcnn")
    config = default()
    config.experiment = "queries" if args.student == "textcnn" else f"queries_{args.student}"
    config.seeds = (0, 1, 2)
    config.epochs = 10
    config.batch_size = 64
    config.data.source = "queries"
    config.data.validation = 0.1
    config.data.buckets = 1  # queries are short: more lengths would save less than their programs take to compile
    config.teacher.model = "bilstm"
    config.teacher.kwargs = {"embedding": 64, "width": 64, "dropout": 0.2}
    config.student.model = args.student
    config.student.kwargs = SIZES.get(args.student, {})
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 5e-3
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 1.0
    for name in METHODS:
        config.methods[name] = methods.recipe(name)
    return config
