/**
 * Puts the SDK that the program's page uses into `dist`, with the licences of what is in it. As a dependency it would
 * bring 8 MB (itself and its Protobuf codec) to every installation, for a file of 96 kB.
 */
import fs from "node:fs"

const at = (path) => new URL(`../${path}`, import.meta.url)
const read = (path) => fs.readFileSync(at(`node_modules/${path}`), "utf8").trim()

/** Its file has these lines only, and no text of the licence. */
const fossil = `Copyright 2014-2024 Dmitry Chestnykh (JavaScript port)
Copyright 2007 D. Richard Hipp (original C version)
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE AUTHORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO,
THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE
AUTHORS OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
(INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH
DAMAGE.`

const { version } = JSON.parse(read("centrifuge/package.json"))
const banner = [
  `centrifuge ${version}, https://github.com/centrifugal/centrifuge-js`,
  read("centrifuge/LICENSE"),
  "With events, https://github.com/browserify/events",
  read("events/LICENSE"),
  "With a part of fossil-delta, https://github.com/dchest/fossil-delta-js",
  fossil
].join("\n\n")
if (/[*]\/|<[!/]/.test(banner)) throw new Error("A licence would end the comment that it is in.")

const code = read("centrifuge/dist/centrifuge.js").replace(/\n\/\/# sourceMappingURL=\S*$/, "")
// It stands in the page's HTML.
if (/<\/script|<!--/i.test(code)) throw new Error("The SDK would end the element that it is in.")

fs.mkdirSync(at("dist/server/page"), { recursive: true })
fs.writeFileSync(at("dist/server/page/centrifuge.js"), `/*!\n${banner}\n*/\n${code}\n`)
