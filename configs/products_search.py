"""A shop's search: the name of a product finds its offers among all offers, by the cosine of two embeddings.

Data: a table of offers without a header, as PriceRunner's (https://archive.ics.uci.edu/dataset/837): offer, title,
merchant, product, name of the product, category, its name. The query is the product's name, the documents are all
titles. 4 % of the products, with two offers or more, are the test queries, other 4 % choose epochs.

    kdjax run --config=configs/products_search.py:path=pricerunner_aggregate.csv
    kdjax run --config=configs/products_search.py:path=pricerunner_aggregate.csv,negatives=4   # rows with these besides

With `negatives` the rows random and hard have so many irrelevant offers a product, drawn or mined by the teacher, and
learn from their scores (margin_mse); what they bring has not been measured.

Cost: some ten minutes of one CPU core, a third of them the teacher's; no loss was tuned.
Expected, MRR@10, three seeds (results/products_search): TF-IDF of characters, without learning, 0.869; teacher 0.908;
student 0.870 +- 0.003, which is no more than TF-IDF; documents_kl 0.879 +- 0.003, whose interval contains 0 over seeds.
With ten epochs in place of six one seed of the student reached 0.903: these are short trainings.
"""

from kdjax.config import default, parse_arg

COLUMNS = ("offer", "title", "merchant", "product", "name", "category", "category_name")


def get_config(arg=""):
    args = parse_arg(arg, path="", teacher=256, student=32, epochs=6, negatives=0)
    config = default()
    config.experiment = "products_search"
    config.task = "search"
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.eval_every_epochs = 5
    config.batch_size = 128  # products
    config.data.source = "query_documents"
    config.data.path = args.path
    config.data.columns.names = COLUMNS
    config.data.columns.text, config.data.columns.second, config.data.columns.label = "name", "title", ""
    config.data.test = config.data.validation = 0.04
    config.data.kwargs = {"relevant": 2, "least": 2}
    config.data.tokenizer = "trigrams"
    config.data.length = 64
    config.references = ("tfidf_characters",)
    config.teacher.model = config.student.model = "bi_encoder"
    config.teacher.kwargs = {"embedding": args.teacher}
    config.student.kwargs = {"embedding": args.student}
    config.teacher.epochs = 4
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-2
    config.optimizer.weight_decay = 1e-2
    config.methods.student = {"in_batch_documents": {"weight": 1.0}}
    config.methods.documents_kl = {
        "in_batch_documents": {"weight": 1.0},
        "in_batch_documents_kl": {"weight": 1.0, "temperature": 0.1},
    }
    for name in ("random", "hard") if args.negatives else ():
        config.methods[name] = {
            "in_batch_documents": {"weight": 1.0},
            "margin_mse": {"weight": 0.05},
            "data": {"negatives": {name: args.negatives}},
        }
    return config
