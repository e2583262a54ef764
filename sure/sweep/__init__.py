"""From one run to an answer: tasks x backbones x methods x budgets, each with its settings chosen, and with every seed.

`plan` says which cells there are, `state` what their folders hold, `schedule` what is to be done next, `running` does
it in the process that calls it, `local` in processes of this machine, `ray` in those of a cluster, and `slurm` in jobs.
What another place needs to take part is `schedule.next_steps`, and a way to have `running.run` called with a step and
told when that died (`running.died`).
"""
