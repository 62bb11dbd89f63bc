"""The currencies that a plan may have: code, symbol and name.

Owns: this table, of currencies that are money of a state or a union (no funds, no metals, no testing codes). Does not
own: their digits (values.currency), rounding.

Source: ISO 4217 of 2024 for codes; Unicode CLDR, English, for names and symbols.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.core.values.currency import DIGITS

is_code = re.compile(r"[A-Z]{3}", re.ASCII).fullmatch


class Currency(NamedTuple):
    """A currency. subunits: how many decimals an amount of money has."""

    code: str
    name: str
    symbol: str
    subunits: int


def _read(line: str) -> Currency:
    code, symbol, name = line.split(" ", 2)
    return Currency(code, name, symbol, DIGITS[code])


_TABLE = """\
AED AED United Arab Emirates Dirham
AFN AFN Afghan Afghani
ALL ALL Albanian Lek
AMD AMD Armenian Dram
AOA AOA Angolan Kwanza
ARS ARS Argentine Peso
AUD A$ Australian Dollar
AWG AWG Aruban Florin
AZN AZN Azerbaijani Manat
BAM BAM Bosnia-Herzegovina Convertible Mark
BBD BBD Barbadian Dollar
BDT BDT Bangladeshi Taka
BHD BHD Bahraini Dinar
BIF BIF Burundian Franc
BMD BMD Bermudan Dollar
BND BND Brunei Dollar
BOB BOB Bolivian Boliviano
BRL R$ Brazilian Real
BSD BSD Bahamian Dollar
BTN BTN Bhutanese Ngultrum
BWP BWP Botswanan Pula
BYN BYN Belarusian Ruble
BZD BZD Belize Dollar
CAD CA$ Canadian Dollar
CDF CDF Congolese Franc
CHF CHF Swiss Franc
CLP CLP Chilean Peso
CNY CN¥ Chinese Yuan
COP COP Colombian Peso
CRC CRC Costa Rican Colón
CUP CUP Cuban Peso
CVE CVE Cape Verdean Escudo
CZK CZK Czech Koruna
DJF DJF Djiboutian Franc
DKK DKK Danish Krone
DOP DOP Dominican Peso
DZD DZD Algerian Dinar
EGP EGP Egyptian Pound
ERN ERN Eritrean Nakfa
ETB ETB Ethiopian Birr
EUR € Euro
FJD FJD Fijian Dollar
FKP FKP Falkland Islands Pound
GBP £ British Pound
GEL GEL Georgian Lari
GHS GHS Ghanaian Cedi
GIP GIP Gibraltar Pound
GMD GMD Gambian Dalasi
GNF GNF Guinean Franc
GTQ GTQ Guatemalan Quetzal
GYD GYD Guyanaese Dollar
HKD HK$ Hong Kong Dollar
HNL HNL Honduran Lempira
HTG HTG Haitian Gourde
HUF HUF Hungarian Forint
IDR IDR Indonesian Rupiah
ILS ₪ Israeli New Shekel
INR ₹ Indian Rupee
IQD IQD Iraqi Dinar
IRR IRR Iranian Rial
ISK ISK Icelandic Króna
JMD JMD Jamaican Dollar
JOD JOD Jordanian Dinar
JPY ¥ Japanese Yen
KES KES Kenyan Shilling
KGS KGS Kyrgyz Som
KHR KHR Cambodian Riel
KMF KMF Comorian Franc
KPW KPW North Korean Won
KRW ₩ South Korean Won
KWD KWD Kuwaiti Dinar
KYD KYD Cayman Islands Dollar
KZT KZT Kazakhstani Tenge
LAK LAK Laotian Kip
LBP LBP Lebanese Pound
LKR LKR Sri Lankan Rupee
LRD LRD Liberian Dollar
LSL LSL Lesotho Loti
LYD LYD Libyan Dinar
MAD MAD Moroccan Dirham
MDL MDL Moldovan Leu
MGA MGA Malagasy Ariary
MKD MKD Macedonian Denar
MMK MMK Myanmar Kyat
MNT MNT Mongolian Tugrik
MOP MOP Macanese Pataca
MRU MRU Mauritanian Ouguiya
MUR MUR Mauritian Rupee
MVR MVR Maldivian Rufiyaa
MWK MWK Malawian Kwacha
MXN MX$ Mexican Peso
MYR MYR Malaysian Ringgit
MZN MZN Mozambican Metical
NAD NAD Namibian Dollar
NGN NGN Nigerian Naira
NIO NIO Nicaraguan Córdoba
NOK NOK Norwegian Krone
NPR NPR Nepalese Rupee
NZD NZ$ New Zealand Dollar
OMR OMR Omani Rial
PAB PAB Panamanian Balboa
PEN PEN Peruvian Sol
PGK PGK Papua New Guinean Kina
PHP ₱ Philippine Peso
PKR PKR Pakistani Rupee
PLN PLN Polish Zloty
PYG PYG Paraguayan Guarani
QAR QAR Qatari Riyal
RON RON Romanian Leu
RSD RSD Serbian Dinar
RUB RUB Russian Ruble
RWF RWF Rwandan Franc
SAR SAR Saudi Riyal
SBD SBD Solomon Islands Dollar
SCR SCR Seychellois Rupee
SDG SDG Sudanese Pound
SEK SEK Swedish Krona
SGD SGD Singapore Dollar
SHP SHP St. Helena Pound
SLE SLE Sierra Leonean Leone
SOS SOS Somali Shilling
SRD SRD Surinamese Dollar
SSP SSP South Sudanese Pound
STN STN São Tomé & Príncipe Dobra
SVC SVC Salvadoran Colón
SYP SYP Syrian Pound
SZL SZL Swazi Lilangeni
THB THB Thai Baht
TJS TJS Tajikistani Somoni
TMT TMT Turkmenistani Manat
TND TND Tunisian Dinar
TOP TOP Tongan Paanga
TRY TRY Turkish Lira
TTD TTD Trinidad & Tobago Dollar
TWD NT$ New Taiwan Dollar
TZS TZS Tanzanian Shilling
UAH UAH Ukrainian Hryvnia
UGX UGX Ugandan Shilling
USD $ US Dollar
UYU UYU Uruguayan Peso
UZS UZS Uzbekistani Som
VED VED Bolívar Soberano
VES VES Venezuelan Bolívar
VND ₫ Vietnamese Dong
VUV VUV Vanuatu Vatu
WST WST Samoan Tala
XAF FCFA Central African CFA Franc
XCD EC$ East Caribbean Dollar
XCG Cg. Caribbean guilder
XOF CFA West African CFA Franc
XPF CFPF CFP Franc
YER YER Yemeni Rial
ZAR ZAR South African Rand
ZMW ZMW Zambian Kwacha
ZWG ZWG Zimbabwean Gold
"""
CURRENCIES: Mapping[str, Currency] = {one.code: one for one in map(_read, _TABLE.splitlines())}
