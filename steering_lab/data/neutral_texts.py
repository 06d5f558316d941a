"""Short English passages about nothing in particular: what steering does to text that does not ask for it.

Each is two plain statements, without a valenced word (`lexicons.ENGLISH`), a topic word or a person's name. No prompt
of `prompts` begins one.
"""

NEUTRAL_ENGLISH = (
    "The library opens at nine on weekdays and at ten on Saturdays. Books can be borrowed for three weeks.",
    "Water boils at a lower temperature in the mountains, because the air is thinner there than at the coast.",
    "To change the battery, remove the four screws at the back and lift the cover. Then slide the old one out.",
    "The road follows the river for six miles, crosses a stone bridge and turns north toward the next village.",
    "Most of the paper in this archive was made from cotton. The later volumes were printed on wood pulp.",
    "The meeting was moved from Tuesday to Thursday. A new list of the items will be sent out in the morning.",
    "Add two cups of flour to the bowl and stir until the mixture is smooth. Leave it on the table for an hour.",
    "The second train of the day carries mail and a few passengers. It stops at every station on the line.",
    "A triangle with three equal sides also has three equal angles, and each of them measures sixty degrees.",
    "The museum keeps its collection of maps in the basement, where the light and the humidity are controlled.",
    "Fill in the first page of the form and sign it at the bottom. The office needs a copy of both sides.",
    "Between October and March the ferry runs twice a day. In the other months there is a boat every hour.",
    "The house has two floors and a cellar. The kitchen faces the street and the study looks over the yard.",
    "Copper conducts electricity well and can be drawn into thin wire, which is why cables are made of it.",
    "The survey covered forty households in three districts. Each was visited once in spring and once in autumn.",
    "If the screen stays dark, check that the cable is connected, and hold the button down for ten seconds.",
)
