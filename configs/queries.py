"""Shop queries."""

from kdjax import methods
from kdjax.config import default, parse_arg


def get_config(arg=""):
    args = parse_arg(arg, student="textcnn", teacher="bilstm", epochs=10)
    config = default()
    config.experiment = "queries"
    config.seeds = (0,)
    config.epochs = args.epochs
    config.batch_size = 64
    config.data.source = "queries"
    config.data.validation = 0.1
    config.student.model = args.student
    if args.student == "bert":
        config.student.kwargs = {"layers": 2, "width": 64, "heads": 2, "hidden": 128, "dropout": 0.0}
    if args.student == "bilstm":
        config.student.kwargs = {"width": 64, "embedding": 64}
    if args.student == "textcnn":
        config.student.kwargs = {"filters": 50, "embedding": 64}
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 1.0
    config.methods.student = methods.recipe("student")
    return config
