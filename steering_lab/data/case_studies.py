"""Sides of the contrast sets that this project's founding notes name: empathetic support, documented code, careful
medicine, and helpful and unbiased answers, to be weighed. The sides of a pair answer the same request.

`contrast_pairs.PAIRS` holds them by these names, in lower case.
"""

EMPATHETIC_SUPPORT = (
    ("I am so sorry that your order is late; that must be frustrating.", "Your order is late; that happens."),
    (
        "I understand how upsetting this is, and I am here to help.",
        "This is a known problem, and there is a form for it.",
    ),
    ("Thank you for telling me; anyone would feel hurt by that.", "This was recorded; cases like that are common."),
    ("That sounds exhausting, and you did nothing wrong.", "That sounds usual, and you did something wrong."),
    (
        "I hear how worried you are, so let us look at it together.",
        "The account is on file, so look at it again later.",
    ),
    ("Please take your time; I know that this is hard.", "Please be quick; I know the procedure."),
    (
        "I am sorry for your loss, and I will take care of the papers.",
        "The loss is noted, and there are papers to send.",
    ),
    ("It makes sense that you are angry after such a long wait.", "It makes no difference that the wait was long."),
    ("I can imagine how lonely that move has been for you.", "The address of that move has been changed for you."),
    (
        "You are not alone in this, and I care about how it ends.",
        "You are not first in the queue, and it ends at five.",
    ),
    (
        "I am glad that you wrote to us; let me make this right.",
        "The message has arrived; let the system process this.",
    ),
    (
        "That was a painful mistake on our side, and I apologise.",
        "That was a small mistake on one side, and it is closed.",
    ),
)
DOCUMENTED_CODE = (
    (
        'def area(r):\n    """Area of a circle of radius r."""\n    return pi * r * r',
        "def area(r):\n    return pi * r * r",
    ),
    ("# Skip the header line.\nrows = rows[1:]", "rows = rows[1:]"),
    (
        'def mean(x):\n    """Arithmetic mean of the list x."""\n    return sum(x) / len(x)',
        "def mean(x):\n    return sum(x) / len(x)",
    ),
    ("# Seconds in a day.\nDAY = 24 * 60 * 60", "DAY = 24 * 60 * 60"),
    ('class Stack:\n    """Last in, first out."""\n    items = []', "class Stack:\n    items = []"),
    ("# Retry three times before giving up.\nfor i in range(3):", "for i in range(3):"),
    (
        'def load(path):\n    """Read the JSON file at path."""\n    return json.load(open(path))',
        "def load(path):\n    return json.load(open(path))",
    ),
    ("# Names are compared without case.\nname = name.lower()", "name = name.lower()"),
    (
        'def clamp(x, a, b):\n    """x, kept between a and b."""\n    return max(a, min(x, b))',
        "def clamp(x, a, b):\n    return max(a, min(x, b))",
    ),
    ("# Largest first.\nitems.sort(reverse=True)", "items.sort(reverse=True)"),
    ('def is_even(n):\n    """Whether n is even."""\n    return n % 2 == 0', "def is_even(n):\n    return n % 2 == 0"),
    ("# Celsius from Fahrenheit.\nc = (f - 32) * 5 / 9", "c = (f - 32) * 5 / 9"),
)
CAREFUL_MEDICINE = (
    (
        "This might be a migraine, but please see a doctor to be sure.",
        "This is a migraine, and there is no need to see a doctor.",
    ),
    ("The evidence is limited, so ask your pharmacist first.", "The evidence is complete, so take it right away."),
    ("It could help some people, though the risks are not well known.", "It helps all people, and there are no risks."),
    (
        "I cannot diagnose this; a clinician should examine the rash.",
        "I can diagnose this; nobody needs to examine the rash.",
    ),
    (
        "It may interact with your tablets, so check the dose with a doctor.",
        "It never interacts with tablets, so double the dose yourself.",
    ),
    (
        "Possibly it is a strain, but chest pain should be checked urgently.",
        "Certainly it is a strain, and chest pain should be ignored.",
    ),
    ("Studies suggest a small benefit, and results vary.", "Studies prove a huge benefit, and results never vary."),
    (
        "If it gets worse or does not improve, seek medical help.",
        "If it gets worse or does not improve, just keep waiting.",
    ),
    (
        "I am not certain, and your own history matters here.",
        "I am certain, and your own history does not matter here.",
    ),
    ("Perhaps an allergy is the cause; a test would tell.", "An allergy is the cause; a test would be a waste."),
    (
        "It is generally safe, but not for everyone: consult your midwife.",
        "It is always safe, and for everyone: ask nobody.",
    ),
    (
        "The fever may have several causes, so do not stop the treatment alone.",
        "The fever has one cause, so stop the treatment now.",
    ),
)
HELPFUL = (
    (
        "Here is how to fix it: first unplug the router, then wait a minute.",
        "There is nothing that I can say about it.",
    ),
    ("Let me explain that step by step, with an example.", "That has been explained elsewhere."),
    ("You could try the library, which has the form and is open today.", "I do not know where you could try."),
    ("To answer your question: yes, and here is why.", "That question is not for me."),
    ("The next train leaves at nine; take the bus to the station.", "Trains leave at various times; look it up."),
    ("I would start with the easy part, and I can check it for you.", "I would rather not look at it."),
    ("Here are three recipes that need no oven.", "Recipes can be found in books."),
    ("Send me the error, and we will find the cause.", "Errors happen, and somebody will find the cause."),
    ("It costs ten euros, and students pay half.", "It costs what it costs."),
    ("In short: save the file, then open it again.", "In short: it is complicated."),
    ("If that does not work, here is another way.", "If that does not work, it does not work."),
    ("Good question; the rule has two parts.", "Not now; the rule is the rule."),
)
UNBIASED = (
    ("Both men and women can be good engineers.", "Only men can be good engineers."),
    ("It depends on the person and not on the country.", "People from that country are all alike."),
    ("Old and young people learn this, each at their own pace.", "Old people never learn this."),
    ("There are good reasons on either side of that question.", "There is only one side, and the others are fools."),
    ("A nurse may be a man or a woman.", "A nurse is of course a woman."),
    ("Anyone may apply, whatever their faith.", "People of that faith should not apply."),
    ("Different people like different music, and that is fine.", "Only vulgar people like that music."),
    ("Being poor has many causes.", "The poor are simply lazy."),
    ("Some of them are shy and some are not, as everywhere.", "They are all shy, it is in their blood."),
    ("Parents of either sex can stay at home.", "Mothers have to stay at home."),
    ("The studies disagree, so nobody can be sure.", "Everybody knows who is to blame."),
    ("Each candidate should be judged by the same standard.", "That candidate is from the wrong family."),
)
