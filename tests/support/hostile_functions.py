"""What functions of a `python` check may do, and what is said of it then: a table for the tests, and to be printed
(`python -m tests.check_cases python`)."""

from __future__ import annotations

import textwrap

from core.checks import PythonCheck

LONG = "time.sleep(1000)"
DEAF = """
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: pass
"""
GARBAGE = """
for number in range(3, 64):
    try: os.write(number, b'garbage!' * 9)
    except OSError: pass
"""
# What a function does with the text `bad`, and what is said of it then.
HOSTILE = {
    "while True: pass": "ran longer than 0.3 s",
    LONG: "ran longer than 0.3 s",
    "re.search('^(a|a)*$', 'a' * 60 + 'b')": "ran longer than 0.3 s",
    DEAF: "ran longer than 0.3 s",
    "print('seen'); raise ValueError('no plan')": "raised ValueError: no plan (line 5); printed: seen",
    "return score(text, expect, captures)": "raised RecursionError",
    "sys.exit('enough')": "raised SystemExit: enough",
    "os._exit(3)": "ended its process (exit code 3) before it said anything",
    "len('x' * 10**12)": "needs more than 64MB",
    "ctypes.string_at(0)": "crashed (SIGSEGV)",
    "os.abort()": "crashed (SIGABRT)",
    "os.kill(os.getpid(), signal.SIGKILL)": "was ended by SIGKILL",
    "os.kill(os.getppid(), signal.SIGKILL)": "was ended by SIGKILL",
    "os.killpg(0, signal.SIGKILL)": "was ended by SIGKILL",
    "while True: os.fork()": "raised BlockingIOError",
    "threading.Thread(target=time.sleep, args=(1000,)).start()": "raised RuntimeError: can't start new thread",
    "subprocess.Popen(['sleep', '1000'])": "raised BlockingIOError",
    "while True: print('y' * 1000)": "printed more than 1 MB; printed: yyy",
    "while True: sys.stderr.write('y' * 1000)": "printed more than 1 MB; printed: yyy",
    "for name in list(vars(builtins)): setattr(builtins, name, None)": "",
    GARBAGE: "misused the way by which it answers",
    "os.closerange(0, 64)": "ended its process",
    "os.execv('/bin/true', ['true'])": "ended its process (exit code 0)",
    "return 7": "returned 7, and not a truth value",
    "return float('nan')": "returned nan",
    "return 'yes'": "returned 'yes'",
    "return": "returned None",
}


def hostile(what: str) -> str:
    """A file whose function is well on any text but one."""
    return (
        "import builtins, ctypes, os, re, signal, subprocess, sys, threading, time\n\n"
        "def score(text, expect, captures):\n    if text == 'bad':\n"
        f"{textwrap.indent(what.strip(), ' ' * 8)}\n    return text == 'good', 'another text'\n"
    )


def python(code: str, **keys: object) -> PythonCheck:
    return PythonCheck.model_validate({"check": "python", "file": "checks/plan.py", "code": code, **keys})
