# SPDX-License-Identifier: Apache-2.0
"""TPM 2.0: what firmware measured, what it will measure, and what a TPM says of it.

A TPM is no TEE. What it says is worth what keeps it apart from whoever runs the machine.
"""
