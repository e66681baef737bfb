/** Fails when the tarball that would be published grows past a limit, or when something is in it that should not be. */
import { execFileSync } from "node:child_process"

const limits = { packed: 750_000, unpacked: 3_300_000, files: 1_100 }
const allowed =
  /^(dist\/.+\.(js|d\.ts|js\.map|d\.ts\.map)|src\/.+\.ts|package\.json|hub\.schema\.json|README\.md|LICENSE|CHANGELOG\.md)$/
const required = [
  "package.json",
  "hub.schema.json",
  "README.md",
  "LICENSE",
  "dist/index.js",
  "dist/index.d.ts",
  "dist/server/main.js",
  "dist/server/page/centrifuge.js"
]

const [pack] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"]
}))
const paths = pack.files.map((file) => file.path)
const problems = [
  ...(pack.size > limits.packed ? [`packed size ${pack.size} B is over ${limits.packed} B`] : []),
  ...(pack.unpackedSize > limits.unpacked ? [`unpacked size ${pack.unpackedSize} B is over ${limits.unpacked} B`] : []),
  ...(paths.length > limits.files ? [`${paths.length} files are more than ${limits.files}`] : []),
  ...paths.filter((path) => !allowed.test(path)).map((path) => `${path} should not be published`),
  ...required.filter((path) => !paths.includes(path)).map((path) => `${path} is missing`)
]
for (const problem of problems) console.error(problem)
console.log(`${pack.filename}: ${pack.size} B packed, ${pack.unpackedSize} B unpacked, ${paths.length} files`)
process.exitCode = problems.length > 0 ? 1 : 0
