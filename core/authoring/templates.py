"""The texts that `scaffold` fills in; «NAME» is replaced."""

from __future__ import annotations

PROJECT = """\
# A Bakehouse project: the tasks, models, recipes and experiments of your own, beside the shipped ones.
#   configs/tasks/NAME.yaml         `bakehouse new task NAME` writes one
#   configs/data/NAME.train.jsonl   what it is learnt from
#   golden/NAME.yaml                what it is tested on
#   configs/recipes/NAME.yaml       how to train, where the shipped recipes do not fit
#   configs/experiments/NAME.yaml   trainings that are compared: what varies, what is held equal
#   configs/models.yaml             base models that are not among the shipped ones

id: «id»    # results are stored under it: leave it when the folder moves
name: «name»

# Settings of this project. Those for all projects stand, with the same keys, in ~/.config/bakehouse/settings.yaml.
# jobs: {python: /opt/rocm/venv/bin/python}     # the interpreter whose torch fits the GPU
# artefacts: /data/bakehouse                    # where adapters and merged models go: they are large
# queue: {on_restart: hold}                     # what becomes of a job when the machine restarts; requeue is the default
# bakeoff: {pattern_timeout_seconds: 1.0}
"""

TASK = """\
# What the model does, how its answers are generated, and how they are scored.
# `bakehouse config check` names what is wrong here, with its line.
name: «name»

# Stands in front of every prompt: in training, in the bake-off and when served. Say here what the model needs to know
# each time; what the examples show need not be said at length.
«system_note»system: «system»

# Models that can think aloud before they answer: off | on. Training and bake-off obey; others ignore it.
thinking: off
# system_role: user     # for chat templates that take no system message: its text stands at the head of the first user message

sampling:
  temperature: 0.2        # 0 gives the likeliest answer, and the same one each time
  # Tokens of prompt and answer together.
  context_length: «context_length»
  # «max_new_tokens_note».
  max_new_tokens: «max_new_tokens»
  repeat_penalty: 1.0     # 1 is none; a penalty harms answers that have a form to keep

# How often each golden input is asked. Repeats show how steady a model is; to tell two models apart, add inputs instead.
repeats: 3

# What every candidate is asked; none of it may stand in the training data.
golden: «golden»

# What it is learnt from: one JSON object a line, either of
#   {"prompt": "…", "completion": "…"}
#   {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
# An assistant message with "weight": 0 is context and never learnt. Other forms: `bakehouse data convert FILE`.
data:
  train: «train»
  «keep»          # a line's own system message stands in place of the one above; without it a difference is an error
  # loss: every_turn      # each assistant turn of a conversation is learnt, not only the last

# By how much (0.05 is 5 %) a candidate must be ahead to count as better, and may be behind to count as no worse.
margin: 0.05

# Checks score an answer, each from 0 to 1. `format`: has it the form? `content`: is it right? Any check also takes
#   id: WORD          its name in tables
#   weight: 2         its share in the mean
#   partial: true     the share that is right, in place of 0 or 1
#   message: TEXT     what the report says of an answer that fails
#   normalise: false  compare letter by letter. Else what looks the same is the same: composed letters, line ends, blanks of any
#                     width, invisible characters, shapes of dashes and quotes, full-width letters. Or a list of these:
#                     [unicode, lines, spaces, invisible, dashes, quotes, width]
# Patterns stand between single quotes, where a backslash is a backslash. Take out the `#` of what fits, and change it.

«checks»
"""

EXAMPLE_CHECKS = {
    "format": """\
  # A heading of this level whose text matches; a named group (?P<verdict>…) is captured. `count`: how many there are.
  # - {check: heading, level: 3, pattern: '^(?P<title>.+) — (?P<verdict>PASS|FAIL)$', count: 1}
  # These sections in this order; `forgive` says what of their markdown counts all the same (1. Goal, Goal:).
  # - {check: section_order, sections: [Goal, Steps, Risks], level: 2, forgive: [setext, numbering, decoration]}
  # A table with these columns and so many rows.
  # - {check: table, columns: [Criterion, Score, Reason], rows: 5}
  # A pattern found in the answer; `multiline` lets ^ and $ stand for the ends of each line.
  # - {check: regex, pattern: '^SUMMARY: .+ (?P<score>[0-9.]+)/5$', multiline: true, count: 1}
  # Every item of the lists (or rows, lines, sections, or of a JSON pointer) has a form, and so many words.
  # - {check: each_item, of: list, pattern: '^[A-Z]', words: [3, 20], count: [3, 5], partial: true}
  # How long the answer is, or what was captured, or a section: also `lines` and `characters`.
  # - {check: words, max: 120}
  # Each captured number is in a range.
  # - {check: number_range, name: score, min: 0, max: 5, step: 0.5}""",
    "content": """\
  # What a format check captured equals `expect.verdict` of the golden input.
  # - {check: captured_equals, name: verdict}
  # Plain text in the answer: one of these, all of these, none of these; also out of the golden input (expect.facts).
  # - {check: contains_any, values: [refund, money back]}
  # - {check: contains_all, values: expect.facts, partial: true}
  # - {check: not_contains, values: ['As an AI', '<think>'], case_sensitive: true}""",
}

GOLDEN_HEAD = """\
# Golden inputs of the task «name»: every candidate is asked each of them, so choose what the job really meets, the
# hard and the odd included (an empty input, a very long one, the wrong language). None may stand in the training data.
# With 5 inputs no difference can ever be proved; 12 or more are a good beginning.
#
#   - id: short-complaint             # its name in tables
#     input: |
#       The text that the model gets.
#     expect: «expect»        # what the checks compare with; only the keys that they ask for
#     source: march-mails             # inputs cut from one document count as one; left out: it stands for itself
#     tags: [short]
#   - id: third-question              # a conversation; a system message of its own would stand for the task's
#     messages: [{role: user, content: Hi}, {role: assistant, content: Hello.}, {role: user, content: "And now?"}]
#   - id: from-a-file
#     file: golden/«name»/long.txt    # in place of `input`; the path starts at the project's folder
inputs:
"""
