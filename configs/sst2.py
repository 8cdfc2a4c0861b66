"""SST-2, sentences of film reviews: BERT-base teaches six of its layers, or a BiLSTM; published numbers stand beside.

Data: GLUE's folder with train.tsv (67,349 phrases) and dev.tsv (872 sentences, its test split has no labels), columns
sentence and label. `encoder` is a folder of Hugging Face's, bert-base-uncased.

    kdjax run --config=configs/sst2.py:path=SST-2,encoder=bert-base-uncased
    kdjax run --config=configs/sst2.py:path=SST-2,encoder=bert-base-uncased,student=bilstm
    kdjax rewrite --config=configs/sst2.py:path=SST-2 --encoder=bert-base-uncased --out=more.txt  # :transfer=more.txt

Published: DistilBERT 91.3 on the dev set, its teacher 92.7, the median of five runs; it was distilled in pretraining,
on other texts, and then fine-tuned, where students here begin as layers of a fine-tuned teacher. Tang et al. 2019
(arXiv:1903.12136): BiLSTM 90.7 on GLUE's test set, from BERT-large with a transfer set of masked and cut sentences.

Cost: three epochs of BERT-base are 6,300 steps, minutes on a GPU; not yet run here.
"""

from kdjax import methods
from kdjax.config import default, parse_arg
from kdjax.models.text import huggingface

LAYERS = {"embeddings": "embeddings", "encoder_layer_*": "uniform"}
"""What a BERT begins as: the words and every second layer of its teacher."""
PUBLISHED = {"bert": ("bert_base", "distilbert"), "bilstm": ("bert_large", "bilstm")}
"""Student -> the pair that kdjax/report/published.json knows."""
BASE = {"layers": 12, "width": 768}
"""A teacher's sizes where no folder says them."""


def get_config(arg=""):
    args = parse_arg(arg, path="", encoder="", student="bert", transfer="")
    if args.student not in PUBLISHED:
        raise ValueError(f"student={args.student}: there are {', '.join(PUBLISHED)}")
    config = default()
    config.experiment = f"sst2_{args.student}"
    config.seeds = (0, 1, 2, 3, 4)
    config.batch_size = 32
    config.data.source, config.data.path, config.data.transfer = "tsv", args.path, args.transfer
    config.data.columns.text = "sentence"
    config.data.tokenizer = args.encoder or "words"
    config.data.unlabelled = bool(args.transfer)
    config.references = ("tfidf",)
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.teacher.model, config.teacher.start = "bert", args.encoder
    config.teacher.kwargs = huggingface.sizes(args.encoder) if args.encoder else BASE
    config.teacher.epochs = 3
    config.teacher.optimizer = {"learning_rate": 2e-5, "warmup_epochs": 0.3}
    config.student.model = args.student
    teacher, student = PUBLISHED[args.student]
    config.published = {"benchmark": "sst2", "teacher": teacher, "student": student}
    if args.student == "bert":
        return _layers_of_the_teacher(config)
    config.epochs = 10
    config.execution.teach_once = True
    config.optimizer.learning_rate = 1e-3
    config.student.kwargs = {"embedding": 300, "width": 150, "dropout": 0.3}
    for name in ("student", "kd", "logit_mse"):
        config.methods[name] = methods.recipe(name)
    return config


def _layers_of_the_teacher(config):
    config.epochs = 3
    config.optimizer.learning_rate = 5e-5
    config.optimizer.warmup_epochs = 0.3
    config.student.kwargs = {**config.teacher.kwargs, "layers": config.teacher.kwargs["layers"] // 2}
    for name in ("student", "kd", "distilbert", "pkd"):
        config.methods[name] = {**methods.recipe(name), "from_teacher": LAYERS}
    return config
