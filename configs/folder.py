"""Images of your own: `<path>/{train,val,test}/<class>/*`, JPEG or PNG, of any sizes and modes; or what lists them.

    kdjax run --config=configs/folder.py:path=/data/products
    kdjax run --config=configs/folder.py:path=/data/products,size=96,teacher=resnet56,student=resnet8
    kdjax run --config=configs/folder.py:path=/data/products.csv,source=manifest     also webdataset, npz, huggingface

Images are scaled and cropped to `size` pixels a side. Where there is no val/, `--config.data.validation=0.1` takes a
tenth of the training images. Cost: a ResNet on 5,000 images of 64 pixels takes a GPU some minutes a run, two CPU
cores some hours; a first look: --config.epochs=2 --only=student,kd --seeds=0.
"""

import digits

from kdjax import methods
from kdjax.config import default, parse_arg


def get_config(arg: str = ""):
    args = parse_arg(arg, path="", source="folder", size=64, teacher="resnet56", student="resnet8", weights="")
    config = default()
    config.experiment = "folder"
    config.seeds = (0, 1, 2)
    config.epochs = 60
    config.batch_size = 32
    config.data.source = args.source
    config.data.path = args.path
    config.data.image_size = args.size
    config.data.mean, config.data.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    config.data.augment.random_crop = {"padding": args.size // 8}
    config.data.augment.flip = {}
    config.teacher.model = args.teacher
    config.teacher.weights = args.weights
    config.student.model = args.student
    for name in digits.METHODS:
        config.methods[name] = methods.recipe(name, args.teacher, args.student)
    return config
