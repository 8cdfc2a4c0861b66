r"""The shop's case: photographs of products, many classes, few of each; a large network that is right, a small one.

Images of any sizes in `<path>/{train,val,test}/<class>/*`, JPEG or PNG. All training images are labelled here; with
few of them see configs/products_fewshot.py.

    kdjax run --config=configs/products.py:path=/data/products                                 # trains the teacher too
    kdjax run --config=configs/products.py:path=/data/products,size=96,teacher=resnet50,student=squeezenet
    kdjax run --config=configs/products.py:path=/data/products,weights=resnet18.safetensors    # a teacher that is there

A teacher of another domain is fine-tuned: `start` names its weights, of which all but the classifier are where training
begins. With `assistant` a network of middle size is taught by the teacher and teaches the student. Several teachers
as an ensemble: --config.teacher.run=runs/products/teacher/seed0+runs/other/teacher/seed0.

The default is the full size: 64 pixels, 120 epochs, ResNet-18 -> MobileNetV2 of the CRD benchmark, hours on a GPU, not
yet run. At 32 pixels every method is in results/products/README.md: LeNet, a ResNet-20 of CIFAR-10 fine-tuned for 25
epochs (five minutes) and then half a minute for each of 16 methods and 3 seeds, on two CPU cores:

    kdjax run --config=configs/products.py:path=grocery_store,size=32,teacher=resnet20,student=lenet,epochs=10,\
start=resnet20_cifar10.safetensors --config.teacher.kwargs.shortcut=A --config.teacher.epochs=25 \
        --config.optimizer.learning_rate=0.02
"""

import jax
import jax.numpy as jnp

import kdjax.models
from kdjax import methods
from kdjax.config import default, parse_arg
from kdjax.find import find

METHODS = (
    *("student", "hard_target", "kd", "logit_mse", "dkd", "nkd", "dist", "kd_standardized"),
    *("fitnet", "attention", "vid", "srrl", "similarity", "rkd", "pkt", "crd"),
)
WEIGHTS = {
    "kd": {"kd": {"temperature": 1.0}},
    "dkd": {"dkd": {"beta": 1.0}},
    "attention": {"attention": {"weight": 10.0}},
    "rkd": {"rkd": {"weight": 0.01}},
}
"""Chosen by configs/ablations/products_grid.py on the validation split: method -> term -> what differs."""


def get_config(arg: str = ""):
    args = parse_arg(arg, assistant="", **ARGS, **TEACHER)
    config = base(args)
    config.experiment = "products"
    for name in METHODS:
        config.methods[name] = recipe(name, args)
    if args.assistant:
        config.methods.assistant = {**recipe("kd", args), "student": {"model": args.assistant}}
        config.methods.kd_assistant = {**recipe("kd", args), "teacher": "assistant"}
    return config


ARGS = dict(path="", size=64, teacher="resnet18", student="mobilenetv2", epochs=120)
TEACHER = dict(start="", weights="")
"""Arguments: of all configs of products, and of those that make their teacher."""


def base(args):
    """Data, networks and optimizer, without methods."""
    config = default()
    config.seeds = (0, 1, 2)
    config.epochs = args.epochs
    config.batch_size = 32
    config.eval_every_epochs = max(1, args.epochs // 5)
    config.data.source = "folder"
    config.data.path = args.path
    config.data.image_size = args.size
    config.data.mean, config.data.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    config.data.augment.random_resized_crop = {"scale": (0.3, 1.0)}
    config.data.augment.flip = {}
    config.data.augment.color_jitter = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    config.teacher.model = args.teacher
    for name in TEACHER:
        config.teacher[name] = args.get(name, "")
    config.student.model = args.student
    config.optimizer.learning_rate = methods.learning_rate(args.student)
    config.optimizer.warmup_epochs = 1.0 if args.epochs > 2 else 0.0
    config.teacher.optimizer = {"learning_rate": methods.learning_rate(args.teacher)}
    return config


def recipe(name: str, args, chosen=WEIGHTS) -> dict:
    """The paper's recipe, with the layers of these two networks, a warm-up that fits, and the weights of the grid."""
    made = methods.recipe(name, args.teacher, args.student)
    for term, spec in made.items():
        if "warmup_epochs" in spec:
            spec["warmup_epochs"] = max(1, args.epochs // 12)  # 20 of the papers' 240
        spec.update(chosen.get(name, {}).get(term, {}))
    if name in ("attention", "vid", "fitnet"):
        pairs = layers(args.teacher, args.student)
        made[name].update({"layer": pairs[-2:][0]} if name == "fitnet" else {"layers": pairs})
    return made


def layers(teacher: str, student: str) -> tuple[tuple[int, int], ...]:
    """(student's, teacher's) maps that belong together: the ends of stages from the last on, without stems."""
    counts = [_maps(name) for name in (student, teacher)]
    return tuple((counts[0] - i, counts[1] - i) for i in range(min(3, min(counts) - 1), 0, -1))


def _maps(model: str) -> int:
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    network = find(model, kdjax.models, "model")(num_classes=2)
    return len(jax.eval_shape(network.init_with_output, jax.random.key(0), image)[0].features)
