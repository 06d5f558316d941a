"""What GeoNames does not say about the world's countries: articles, second spellings, and what would be unfair to ask.

Small tables by hand, keyed by GeoNames' own names without accents, or by ISO codes. As of 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ARTICLE = frozenset(
    {"Bahamas", "Comoros", "Democratic Republic of the Congo", "Gambia", "Maldives", "Netherlands", "Philippines",
     "Palestinian Territory", "Republic of the Congo", "United Arab Emirates", "United Kingdom", "United States",
     "Vatican"}
)  # fmt: skip

# Names that mean the same, in the spellings that English text has for them.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    # capitals
    "Bern": ("Berne",),
    "Kyiv": ("Kiev",),
    "Nay Pyi Taw": ("Naypyidaw", "Naypyitaw"),
    "Nur-Sultan": ("Astana",),
    "Sanaa": ("Sana'a", "Sana"),
    "Ulaanbaatar": ("Ulan Bator",),
    "Washington": ("Washington DC", "Washington D.C."),
    "Beijing": ("Peking",),
    "Antananarivo": ("Tananarive",),
    "Ashgabat": ("Ashkhabad",),
    "Chisinau": ("Kishinev",),
    "Tehran": ("Teheran",),
    "Kuwait City": ("Al Kuwayt",),
    # cities
    "Antwerp": ("Antwerpen",),
    "Arhus": ("Aarhus",),
    "Basrah": ("Basra",),
    "Bengaluru": ("Bangalore",),
    "Brugge": ("Bruges",),
    "Chattogram": ("Chittagong",),
    "Daugavpils": ("Dvinsk",),
    "Dnipro": ("Dnipropetrovsk",),
    "Fes": ("Fez",),
    "Frankfurt am Main": ("Frankfurt",),
    "Geneva": ("Geneve",),
    "Gent": ("Ghent",),
    "Gqeberha": ("Port Elizabeth",),
    "Hargeysa": ("Hargeisa",),
    "Ho Chi Minh City": ("Saigon", "Ho Chi Minh"),
    "Homyel": ("Gomel",),
    "Hrodna": ("Grodno",),
    "Irakleion": ("Heraklion", "Iraklion"),
    "Kharkiv": ("Kharkov",),
    "Koln": ("Cologne",),
    "Kolkata": ("Calcutta",),
    "Krakow": ("Cracow",),
    "Latakia": ("Lattakia",),
    "Luzern": ("Lucerne",),
    "Lviv": ("Lvov",),
    "Madinah": ("Medina",),
    "Mahilyow": ("Mogilev",),
    "Makkah": ("Mecca",),
    "Marseille": ("Marseilles",),
    "Mumbai": ("Bombay",),
    "New York City": ("New York",),
    "Odesa": ("Odessa",),
    "Patra": ("Patras",),
    "Saint Petersburg": ("St. Petersburg", "St Petersburg"),
    "Sevilla": ("Seville",),
    "Thessaloniki": ("Salonica",),
    "Yangon": ("Rangoon",),
    "Zaporizhzhya": ("Zaporizhzhia",),
    "Zaragoza": ("Saragossa",),
    # countries
    "Czechia": ("Czech Republic",),
    "China": ("People's Republic of China", "PRC"),
    "Democratic Republic of the Congo": ("DR Congo", "DRC", "Congo"),
    "Ivory Coast": ("Cote d'Ivoire", "Côte d'Ivoire"),
    "Myanmar": ("Burma",),
    "Netherlands": ("Holland",),
    "North Macedonia": ("Macedonia",),
    "Republic of the Congo": ("Congo-Brazzaville", "Congo"),
    "Russia": ("Russian Federation",),
    "South Korea": ("Republic of Korea", "Korea"),
    "Turkey": ("Turkiye", "Türkiye"),
    "United Arab Emirates": ("UAE", "Emirates"),
    "United Kingdom": ("UK", "Great Britain", "Britain", "England"),
    "United States": ("United States of America", "USA", "US", "America"),
}

DISPUTED_CAPITAL = frozenset({"EH", "IL", "PS"})

# Seats of government or parliament beside the capital, and capitals until a few decades ago: naming one is no mistake.
SECOND_SEATS: Mapping[str, tuple[str, ...]] = {
    "BI": ("Bujumbura",),
    "BJ": ("Cotonou",),
    "BO": ("La Paz",),
    "CI": ("Abidjan",),
    "CL": ("Valparaiso",),
    "DE": ("Bonn",),
    "ID": ("Nusantara",),
    "KZ": ("Almaty",),
    "LK": ("Sri Jayewardenepura Kotte", "Pita Kotte"),
    "ME": ("Cetinje",),
    "MM": ("Yangon",),
    "MY": ("Putrajaya",),
    "NG": ("Lagos",),
    "NL": ("The Hague",),
    "SD": ("Port Sudan",),
    "SZ": ("Lobamba",),
    "TZ": ("Dar es Salaam",),
    "YE": ("Aden",),
    "ZA": ("Cape Town", "Bloemfontein"),
}

DISSOLVED = frozenset({"AN", "CS"})  # GeoNames still lists them

NOT_A_STATE = frozenset({"HK", "PR", "PS", "TW", "XK"})  # territories, or disputed

TWO_CONTINENTS = frozenset({"AM", "AU", "AZ", "CY", "EG", "GE", "ID", "KZ", "RU", "TR"})

# In whose place a country's continent could plausibly be put.
NEARBY_CONTINENTS: Mapping[str, tuple[str, ...]] = {
    "AF": ("AS", "EU", "SA"),
    "AS": ("EU", "AF", "OC"),
    "EU": ("AS", "AF", "NA"),
    "NA": ("SA", "EU", "AS"),
    "OC": ("AS", "SA", "AF"),
    "SA": ("NA", "AF", "EU"),
}


@dataclass(frozen=True)
class _Currencies:
    """GeoNames' currency names brought to their noun, other wordings of a noun, countries that use several
    or have changed lately."""

    noun: Mapping[str, str] = field(
        default_factory=lambda: {
            "Belarusian ruble": "ruble",
            "Bolivar Soberano": "bolivar",
            "Riels": "riel",
            "Yuan Renminbi": "yuan",
        }
    )
    other: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "bolivar": ("bolívar", "bolívares"),
            "colon": ("colón", "colones"),
            "cordoba": ("córdoba", "córdobas"),
            "guarani": ("guaraní", "guaraníes"),
            "koruna": ("korunas", "crown", "crowns"),
            "krona": ("kronor", "crown", "crowns"),
            "krone": ("kroner", "crown", "crowns"),
            "lek": ("lekë",),
            "leu": ("lei",),
            "lev": ("leva",),
            "marka": ("mark", "marks"),
            "real": ("reais",),
            "ruble": ("rouble", "roubles"),
            "sol": ("soles",),
            "tugrik": ("tögrög", "togrog"),
            "yuan": ("renminbi", "RMB"),
            "zloty": ("złoty", "złotys"),
        }
    )
    several: frozenset[str] = frozenset({"BG", "CU", "KH", "LB", "PA", "PS", "VE", "ZW"})


CURRENCIES = _Currencies()
