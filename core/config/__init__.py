"""What the person wrote: tasks, models, recipes, golden inputs, settings. An error names file, line and key.

The modules are imported where they are used (`core.config.project`, `core.config.task`, …), so that a command that
needs none of them does not pay for pydantic.
"""
