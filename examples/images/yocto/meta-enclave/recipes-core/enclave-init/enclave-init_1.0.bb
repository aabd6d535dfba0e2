# SPDX-License-Identifier: Apache-2.0
SUMMARY = "The first process of the machine"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

SRC_URI = "file://init"
S = "${WORKDIR}/sources"
UNPACKDIR = "${S}"
RDEPENDS:${PN} = "busybox"

do_install() {
    install -m 0755 ${S}/init ${D}/init
}
FILES:${PN} = "/init"
