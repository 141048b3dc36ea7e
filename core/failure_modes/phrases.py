"""Words that stand in an answer and belong to no answer: to the person, about the task, about its own thinking."""

from __future__ import annotations

import re

_MARKS = r"[\s*_#>\"“'’]{0,6}"
# Words that are an address by themselves, wherever an answer begins with them.
_YES = (
    r"(?:sure|certainly|of course|absolutely|no problem|my pleasure|happy to help|got it|understood|gerne|gern|natürlich"
    r"|selbstverständlich|klar|bien sûr|avec plaisir|volontiers|certainement|claro|por supuesto|con gusto|certo|volentieri"
    r"|natuurlijk|graag|com certeza)"
)
_MAYBE = (
    r"(?:great|okay|ok|alright|all right|right|yes|perfect|thanks|thank you|hello|hi|hallo|bonjour|hola|dear \w+"
    r"|d'accord|vale)"
)
_ADDRESS = (
    r"(?:(?:thanks|thank you|danke|merci|gracias) (?:for|für|pour|por)\b|as an ai\b|as a (?:large )?language model"
    r"|you(?:'ve| have)? (?:asked|want|wanted|requested|provided|given|gave|sent|shared)\b|it(?:'s| is) (?:a|my) pleasure"
    r"|great (?:question|question|job|work)|that's a (?:great|good|interesting))"
)
_SPEAKS = (
    r"\b(?:i|i'll|i'd|i've|i'm|me|you|your|let's|here(?:'s|’s)?|below|ich|ihr|sie|hier|je|j'ai|vous|votre|voici|aquí"
    r"|tu|su|ecco)\b"
)
_DONE = (
    r"(?:written|created|prepared|graded|reviewed|summari[sz]ed|analy[sz]ed|made|put together|drafted|read|rewritten"
    r"|translated)"
)
_ANNOUNCED = (
    r"(?:here(?:'s|’s| is| are| you go)|below (?:is|are|you)|the following (?:is|are)|(?:as|like) (?:you )?(?:requested|asked)"
    rf"|please find|i(?:'d| would) be (?:happy|glad|pleased) to|i(?:'ve| have) {_DONE}"
    r"|i(?:'ll| will| am going to|'m going to| can (?:help|provide|give|offer|certainly|do that))\b(?! not\b)"
    r"|let me\b|hier (?:ist|sind|kommt)|nachfolgend|im folgenden|voici|voilà|ci-dessous|aquí (?:está|tiene|están|va)"
    r"|a continuación|ecco|hieronder)"
)
_OF_THE_REQUEST = (
    r"(?:(?:based on|according to|after (?:reading|reviewing|analy[sz]ing))"
    r" (?:the|your|this|these|that)\b|to (?:answer|summari[sz]e|grade)\b)"
)
_THINGS = (
    r"(?:answer|translation|summary|result|evaluation|verdict|grade|plan|quiz|rating|assessment|analysis|response|output"
    r"|category|correction|(?:corrected|rewritten) (?:text|version|sentence))"
)
_RESULT = (
    rf"(?:(?:the|my|your|this is (?:the|my|a))(?: [\w-]+){{0,3}} {_THINGS}"
    r"(?: (?:of|for|in|into|to)\b[^\n:]{0,80}?)? (?:is|are|would be|reads|looks like|follows|as follows)\b[^\n:]{0,120})"
)
PREAMBLE = re.compile(
    rf"{_MARKS}(?:"
    rf"{_YES}(?: thing)?(?:[,!.:—–-]| [,!.])[^\n]{{0,400}}"
    rf"|{_MAYBE}\b[,!.][^\n]{{0,300}}?{_SPEAKS}[^\n]{{0,300}}"
    rf"|{_ADDRESS}[^\n]{{0,400}}?[.!:,]"
    rf"|(?:当然|好的|以下是|这是|もちろん|はい、|네,)[^\n]{{0,200}}"
    rf"|{_ANNOUNCED}[^\n]{{0,300}}?[:：.!]"
    rf"|{_OF_THE_REQUEST}[^\n:]{{0,200}}:"
    rf"|{_RESULT}:"
    r")",
    re.IGNORECASE,
)
# What announces the answer on its own line. One that goes on as a sentence is the answer: "Here is bread: flour and water."
ONE_LINE = re.compile(
    rf"{_MARKS}(?:{_RESULT}|{_ANNOUNCED}[^\n:]{{0,120}}\b(?:{_THINGS}|version|note|text|table|list)\b[^\n:]{{0,60}}):",
    re.IGNORECASE,
)
TO_THE_PERSON = re.compile(rf"{_MARKS}(?:{_YES}|{_MAYBE}[,!.]|{_ADDRESS})", re.IGNORECASE)

SCRATCH = re.compile(
    r"\s*<(scratch[_-]?pad|analysis|reflections?|thoughts|internal|inner_monologue|monologue|chain_of_thought|cot|plan"
    r"|planning|deliberation|reason(?:ing)?|think(?:ing)?|thought)>",
    re.IGNORECASE,
)
LEFT_TAG = re.compile(
    r"</?(?:think|thinking|thought|scratch_?pad|reflection|seed:think)>|\[/?THINK\]|◁/?think▷", re.IGNORECASE
)
THOUGHTS = re.compile(
    r"[\s*_#]{0,6}(?:thought process|chain of thought|internal monologue|my (?:thinking|thoughts|reasoning)|thinking"
    r"|scratch ?pad)[*_]{0,3}:",
    re.IGNORECASE,
)
HESITATES = re.compile(r"[\s\W]{0,4}(?:h+m+|wait|let me see|let's see|okay, so|well, let)\b", re.IGNORECASE)
TAKEN_BACK = re.compile(
    r"(?:\A|\s)(?:wait[,.!— ]|h+m+\b|hold on\b|no,? (?:that's|that is|wait)|actually, (?:no|wait|let me|that)"
    r"|let me (?:re-?|check|count|think|see|look|consider|try|start|fix|correct)|let's (?:see|count|check|think)"
    r"|on second thought|scratch that|correction:|moment[,.]|also nein)",
    re.IGNORECASE,
)
HEDGES = re.compile(
    r"\b(?:i think|i guess|could be|might be|maybe|perhaps|probably|i'm not sure|or is it)\b", re.IGNORECASE
)
_MEANS_TO = (
    r"(?:answer|respond|reply|output|write|follow|give|return|format|produce|grade|summari[sz]e|translate|make sure|figure"
    r"|decide|go with|check|look at|determine|consider|extract|pick|choose|say)"
)
ABOUT_THE_TASK = re.compile(
    r"\b(?:the user(?:'s)?(?: has| is| wants| asks| asked| gave| provided| needs| said)?"
    r"|the (?:prompt|instructions?|system prompt|request|task) (?:says?|is|wants?|asks?|requires?|tells?|states?)"
    rf"|(?:i|we)(?:'ll| need| have| am supposed| are supposed| should| must| want| will| could| can) (?:to )?{_MEANS_TO}"
    r"|(?:i am|i'm|we are|we're) (?:asked|given|told|supposed)|they (?:want|ask for|asked for) (?:me|us|a|one|the|only|just)"
    r"|the (?:answer|output|response|reply|format|form) (?:should|must|has to|needs to)|the task is"
    r"|required format|output format|my (?:answer|response|reply)|der (?:nutzer|benutzer)|l'utilisateur|el usuario|用户)",
    re.IGNORECASE,
)
ASKS_TO_THINK = re.compile(
    r"step[- ]by[- ]step|think (?:first|aloud|out loud|before|about|through|between|hard|carefully)"
    r"|\byour (?:steps|work|working|reasoning|thinking|thoughts|calculation)s?\b",
    re.IGNORECASE,
)
ASKS_FENCE = re.compile(r"```|~~~|code ?blocks?|fenced?\b|code ?fences?", re.IGNORECASE)
FORBIDS_FENCE = re.compile(
    r"\b(?:no|not|never|without|don't|omit|avoid)\b[^.\n]{0,60}(?:```|code ?blocks?|fence[sd]?\b|code ?fences?)",
    re.IGNORECASE,
)
DIALOGUE = re.compile(r"\b(?:dialogues?|conversation|interview|transcript|chat|script|scene|turns)\b", re.IGNORECASE)
