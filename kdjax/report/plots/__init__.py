"""Pictures of experiments, drawn from the lines of runs.jsonl alone, each as PNG, SVG and PDF.

    forest                paired difference to the baseline with its interval, filled where Holm-significant
    accuracy              the last epoch's score of every method, each seed a dot
    curves                test score and training loss against the epoch
    terms                 the training loss and its terms beside the test score, two panels a method
    ablation              the score against a hyperparameter, when config.ablate has rows
    confusion             true against predicted class of the best method
    confusion_difference  the same of the best distilled student, minus the baseline's
    groups                accuracy of classes with few, medium and many training images, when their numbers differ
    shots                 the score against labelled images a class, when experiments differ in data.shots

The score is the primary one of the experiment's task (kdjax.runs.task), top-1 of classification; what is of classes
is drawn where results have a confusion. The same lines give the same bytes: nothing random is drawn, and the files
carry no date and no version. Statistics are those of kdjax.report.table and kdjax.report.statistics. Nothing here
imports JAX.
"""

from kdjax.report.plots.pictures import write as write
