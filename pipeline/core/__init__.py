"""The rules of Tallymark, pure: no I/O, no clock, no float, no Faust. Time is an argument.

One package a subject; each may import the ones below it:

    control             decides a command by the rules of its subject
    notifications       from a rule to an alert to a delivered webhook
    quota               from an entitlement to a balance
    metering            from an event to a window to the result of a query
    customers           who pays, and whose usage it is
    access, catalog     who may do what; what is sold
    definitions         what every kind of definition shares
    values              numbers, timestamps, calendars, paths, filters

Does not own: where records come from and where they go (agents, stores, api). Every rule has its tests at the same
path under `tests/core`, most of them laws that compare the rule with an independent recount.
"""
