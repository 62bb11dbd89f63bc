"""Objects, events and usage of an OpenMeter as this Tallymark takes them over.

Owns: the request that creates each object here, what cannot be taken over and why, which grants and which usage make
the same balance, whether an object or a sum is the same on both sides. Does not own: HTTP and the order of the steps
(cli.migrate), the rules of each object, which the API decides.

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` and the handlers that map its answers. Since our paths and
JSON are OpenMeter's, the source may be another Tallymark.

Start reading at `translation`.
"""
