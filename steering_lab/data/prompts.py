"""Neutral beginnings of English sentences, to be continued: what a steering effect is measured on.

The first set is for choosing a layer and a coefficient, the second for reporting what the choice does. The embedded
model knows a smaller language and has beginnings of its own in `organism.world`.
"""

OPENINGS_VALIDATION = (
    "I went up to my friend and said",
    "When I opened the door, I saw",
    "The new teacher walked in and",
    "My neighbour told me that",
    "After the meeting, everyone thought",
    "The letter began with the words",
    "Last night at dinner, my brother",
    "On the train this morning, a man",
    "The first thing she noticed was",
    "Our weekend in the city was",
    "The children in the park were",
    "He looked at the photograph and",
    "I have always thought that my job",
    "The waiter came back to say",
    "People in this town are",
    "As soon as the film ended, we",
)

OPENINGS_TEST = (
    "I called my sister because",
    "The door of the shop opened and",
    "My first day at the office was",
    "The doctor looked up and said",
    "When the music stopped, they",
    "The woman across the street",
    "Yesterday I read a book about",
    "The captain told the crew that",
    "Walking home from school, he",
    "In the middle of the conversation, she",
    "The report about the project was",
    "My grandfather used to say that",
    "The guests at the party were",
    "I looked at the message and",
    "The weather this week has been",
    "What I remember of that summer is",
)
