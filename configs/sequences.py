"""What comes next: transformers that read a user's last items in their order, SASRec of 64 numbers and two layers -> 4.

Data: 600 made up shoppers and 400 items (kdjax/data/interactions/generate.py), nothing is downloaded; or a file of
yours, `user item` a line in the order of time, of which the 5-core is taken: Amazon Beauty's is 22,363 users and 12,101
items. The last item of each user is the test, the one before it the validation split; all others are ranked.

    kdjax run --config=configs/sequences.py
    kdjax run --config=configs/sequences.py:path=beauty.txt,batch=256,epochs=20

The wide network is a row, `wide`, and teaches the others of its seed: it is trained by `sequence_softmax`, at every
position of a history. By `item_softmax`, at one drawn position a step, SASRec learns the same more slowly: nDCG@10 on
the validation split, seed 100, 60 epochs, is 0.214 where `sequence_softmax` reaches 0.260 (popularity: 0.072). Rates of
0.003 for 64 numbers and 0.01 for few were taken at once; a decay of 1.0 in place of 0.1 gave 0.254.

Expected, nDCG@10 on the test split, three seeds: wide 0.264 +- 0.007, student 0.153 +- 0.005, popularity 0.068 +-
0.003.
"""

from kdjax.config import default, parse_arg


def get_config(arg=""):
    args = parse_arg(arg, path="", batch=64, epochs=60)
    config = default()
    config.experiment = "sequences"
    config.task = "recommendation"
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.batch_size = args.batch  # users
    config.eval_every_epochs = 20
    config.data.source = "interactions" if args.path else "shoppers"
    config.data.path = args.path
    config.data.validation = 0.1
    config.data.augment.next_item = {}
    config.data.kwargs = {"length": 20, **({"core": 5} if args.path else {})}
    config.student.model = "sasrec"
    config.student.kwargs = {"width": 4, "layers": 1}
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 0.1
    own = {"sequence_softmax": {"weight": 1.0, "negatives": 200}}
    wide = {"model": "sasrec", "kwargs": {"width": 64, "layers": 2}}
    taught = {**own, "teacher": "wide"}
    config.methods.popularity = {"item_softmax": {"weight": 1.0}, "student": {"model": "popularity", "kwargs": {}}}
    config.methods.wide = {**own, "student": wide, "optimizer": {"learning_rate": 0.003}}
    config.methods.student = own
    config.methods.kd = {**taught, "kd": {"weight": 0.5, "temperature": 1.0}}
    config.methods.rrd = {**taught, "rrd": {"weight": 0.02, "top": 20, "others": 40}}
    config.methods.de = {**taught, "de": {"weight": 0.01}}
    return config
