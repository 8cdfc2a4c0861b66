"""The runs of a table as jobs of a Slurm cluster, or as processes of this machine, through submitit.

A job trains methods of one seed, by default all of them: one teacher pass serves them all. The experiment's teacher is
a job of its own, which the others depend on. Methods that teach others, or that others begin from, stand in one job
with these. Jobs and a plain `kdjax run` write to the same directories, and leave to each other what is being trained.

launcher.py is the command, jobs.py says which jobs there are and what each does, options.py what may be asked of a
launcher, local.py runs jobs here, slurm.py submits and follows them, scheduler.py asks Slurm, record.py remembers what
was submitted.
"""
