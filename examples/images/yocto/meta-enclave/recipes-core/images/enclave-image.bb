# SPDX-License-Identifier: Apache-2.0
SUMMARY = "A first file system that is the whole machine"
LICENSE = "Apache-2.0"

inherit core-image

# Nothing but the application and what it needs; not compressed, as what is packed is measured.
PACKAGE_INSTALL = "enclave-init"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "cpio"
INITRAMFS_MAXSIZE = "524288"

# Yocto's builds are reproducible by themselves; this is the time that files of the image have.
REPRODUCIBLE_TIMESTAMP_ROOTFS = "0"
