/** What tests start as processes of their own, in one file: each start would compile and look for all modules again. */
import { type BuildOptions, buildSync } from "esbuild"
import { mkdirSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Where it is put: inside of the project, so that packages are found. */
const cache = "node_modules/.cache/effect-ws-hub"

const build = (entry: string, options: BuildOptions): string => {
  const { outputFiles = [] } = buildSync({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: `${cache}/${entry.replaceAll(/\W/g, "-")}`,
    outExtension: { ".js": ".mjs" },
    write: false,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    conditions: ["@effect-ws-hub/source"],
    ...options
  })
  for (const { contents, path } of outputFiles) {
    // Another test may just start it.
    const mine = `${path}.${process.pid}`
    mkdirSync(dirname(mine), { recursive: true })
    writeFileSync(mine, contents)
    renameSync(mine, path)
  }
  const [first] = outputFiles.filter(({ path }) => !/chunk-\w+[.]mjs$/.test(path))
  if (first === undefined) throw new Error("There is no bundle.")
  return first.path
}

/** A program and all that it imports. */
export const whole = (entry: string): string =>
  build(entry, {
    // Modules that are not of this kind ask for parts of Node.
    banner: { js: "import { createRequire } from \"node:module\"; const require = createRequire(import.meta.url)" }
  })

/** Our own part of a program, which believes to be where its source is, and loads packages when that would. */
export const own = (entry: string): string =>
  build(entry, {
    packages: "external",
    splitting: true,
    define: { "import.meta.url": JSON.stringify(new URL(`../${entry}`, import.meta.url).href) }
  })
