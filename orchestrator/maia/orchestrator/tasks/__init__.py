"""What an agent is asked: one folder of texts per task, or one file of a user's.

`task` has the texts and what may stand in them, `loading` reads them; `units`, which knows the subject server, says
which units a task is for.
"""

from maia.orchestrator.tasks.loading import load_task, read_task_file, task_names
from maia.orchestrator.tasks.task import Task

__all__ = ["Task", "load_task", "read_task_file", "task_names"]
