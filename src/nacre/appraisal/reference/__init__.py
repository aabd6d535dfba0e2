# SPDX-License-Identifier: Apache-2.0
"""Reference values as others write them, read into releases and written from releases.

CoRIM, the RVPS of Confidential Containers, in-toto statements and cocli templates say which registers
code shows. What they say becomes a :class:`nacre.appraisal.release.Release`, register for register and
variant for variant, or is refused by the name of what a release has no word for.
"""
