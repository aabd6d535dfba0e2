# SPDX-License-Identifier: Apache-2.0
"""A roundworm's nervous system in whole numbers, served over HTTP."""
