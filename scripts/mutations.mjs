/**
 * Tries the mutations in `test/mutations`: in a copy of the project, takes out one protection after the other and runs
 * the test that must fail with it.
 *
 *   npm run mutations                      all of them, some minutes
 *   npm run mutations -- --list            what there is
 *   npm run mutations -- --only L6         those that have this anywhere in their law, description, file or test
 *
 * Ends with 1 if one survived, could not be applied, or was not tried because its test fails without it too.
 */
import { spawn } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { mutated, placesOf, readSources, rotten } from "../test/mutations/mutation.ts"
import { mutations } from "../test/mutations/table.ts"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")
const left = new Set(["node_modules", ".git", "dist", "coverage", "api", ".snippets", ".build"])
/** Milliseconds for a mutation: its test has failed if it has not ended then. */
const patience = 240_000

const { values: options } = parseArgs({
  options: { list: { type: "boolean", default: false }, only: { type: "string", default: "" } }
})

const title = ({ of, what }) => `${of}: ${what}`
const chosen = mutations.filter((mutation) =>
  `${title(mutation)} ${mutation.file} ${mutation.test}`.includes(options.only)
)
if (chosen.length === 0) {
  console.error(`There is no mutation with "${options.only}": npm run mutations -- --list tells what there is.`)
  process.exit(1)
}

if (options.list) {
  const sources = readSources(root)
  for (const mutation of chosen) {
    const [place] = placesOf(mutation.old, sources)
    console.log(`${title(mutation)}\n    ${place?.file ?? "nowhere"}\n    ${mutation.file}: ${mutation.test}`)
  }
  process.exit()
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-ws-hub-mutations-"))
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }))
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1))
fs.cpSync(root, folder, { recursive: true, filter: (from) => !left.has(path.basename(from)) })
fs.symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
const sources = readSources(folder)

/** Runs a program of the copy, with all that it starts in a group of its own. Resolves to its exit code, if it ended. */
const run = (program, args, limit) =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [path.join("node_modules", program), ...args], {
      cwd: folder,
      detached: true,
      stdio: "ignore"
    })
    const end = () => {
      try {
        process.kill(-child.pid, "SIGKILL")
      } catch {
        // All of them have ended.
      }
    }
    const timer = setTimeout(end, limit)
    process.once("exit", end)
    child.on("exit", (code) => {
      clearTimeout(timer)
      process.off("exit", end)
      end()
      resolve(code)
    })
  })

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
const isOfTypes = ({ file }) => file.startsWith("typetest/")

/** What becomes of the test of a mutation of types: "passed" or "failed". */
const tryTypes = async ({ file, test }) => {
  const code = await run("tstyche/build/bin.js", [path.basename(file), "--only", test], patience)
  return code === 0 ? "passed" : "failed"
}

/** What becomes of the tests of some mutations: of each "passed", "failed", or why it says nothing. */
const tryTests = async (some) => {
  const report = path.join(folder, "report.json")
  fs.rmSync(report, { force: true })
  const files = [...new Set(some.map(({ file }) => file))]
  const names = some.map(({ test }) => escape(test)).join("|")
  const code = await run("vitest/vitest.mjs", [
    "run",
    ...files,
    "--testNamePattern",
    names,
    "--reporter=json",
    `--outputFile=${report}`
  ], patience * some.length)
  if (!fs.existsSync(report)) return some.map(() => code === null ? "failed" : "the tests could not be run")
  const { testResults } = JSON.parse(fs.readFileSync(report, "utf8"))
  return some.map(({ file, test }) => {
    const module = testResults.find(({ name }) => name === path.join(fs.realpathSync(folder), file))
    const results = (module?.assertionResults ?? []).filter(({ fullName, status }) =>
      fullName.includes(test) && (status === "passed" || status === "failed")
    )
    if (results.length === 0) return `the test did not run: ${module?.message || "none of this name"}`
    return results.some(({ status }) => status === "failed") ? "failed" : "passed"
  })
}

const count = { killed: 0, SURVIVED: 0, rotten: 0 }
const tell = (verdict, mutation, why = "") => {
  count[verdict]++
  console.log(`${verdict.padEnd(8)} ${title(mutation)}${why && `\n         ${why}`}`)
}

const sound = chosen.filter((mutation) => {
  const why = rotten(mutation, folder, sources)
  if (why !== undefined) tell("rotten", mutation, why)
  return why === undefined
})

// Without a mutation every test passes, or its failure says nothing.
const [ofTypes, others] = [sound.filter(isOfTypes), sound.filter((mutation) => !isOfTypes(mutation))]
const before = new Map()
for (const mutation of ofTypes) before.set(mutation, await tryTypes(mutation))
if (others.length > 0) {
  const outcomes = await tryTests(others)
  others.forEach((mutation, index) => before.set(mutation, outcomes[index]))
}

for (const mutation of sound) {
  const outcome = before.get(mutation)
  if (outcome !== "passed") {
    tell("rotten", mutation, outcome === "failed" ? "its test fails without it too." : `${outcome}.`)
    continue
  }
  const [place] = placesOf(mutation.old, sources)
  const file = path.join(folder, place.file)
  const code = sources.get(place.file)
  fs.writeFileSync(file, mutated(mutation, code, place))
  const after = isOfTypes(mutation) ? await tryTypes(mutation) : (await tryTests([mutation]))[0]
  fs.writeFileSync(file, code)
  if (after === "passed") tell("SURVIVED", mutation, `${mutation.file}: ${mutation.test}`)
  else if (after === "failed") tell("killed", mutation)
  else tell("rotten", mutation, `with it ${after}.`)
}
console.log(`\n${count.killed} killed, ${count.SURVIVED} survived, ${count.rotten} rotten`)
process.exitCode = count.killed === chosen.length ? 0 : 1
