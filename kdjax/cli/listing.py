"""kdjax list, check and cost: what there is, what a loss must keep, what networks cost."""


def add(command) -> None:
    sub = command("list", _list, "name what there is")
    sub.add_argument("what", nargs="?", help="methods, losses, models, datasets, or the name of one; all when left out")
    sub = command("check", _check, "tell whether a loss keeps the contract")
    sub.add_argument("loss", help="a loss of kdjax or an import path, my_file.my_loss")
    sub.add_argument("--task", choices=("classification", "regression", "ranking", "search"), default="classification")
    sub = command("cost", _cost, "parameters, FLOPs, bytes and latency of models")
    sub.add_argument("models", nargs="+", help="names in kdjax.models or import paths")
    sub.add_argument("--teacher", help="the model that compression ratios refer to")
    sub.add_argument("--image-size", type=int, default=32, help="pixels a side (default: 32)")
    sub.add_argument("--channels", type=int, default=3)
    sub.add_argument("--tokens", type=int, default=64, help="of a text (default: 64)")
    sub.add_argument("--vocabulary", type=int, default=30_522, help="of networks for texts (default: 30522, BERT's)")
    sub.add_argument("--classes", type=int, default=100)


def _list(args, _) -> None:
    from kdjax.config import listing

    listing.show(args.what)


def _check(args, _) -> int:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.losses import check

    return check.main(args.loss, args.task)


def _cost(args, _) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.models import cost

    cost.main(args)
