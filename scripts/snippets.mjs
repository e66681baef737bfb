/**
 * Type-checks and runs every `ts` block of README.md and docs/, against the built package as a user sees it.
 *
 *   npm run test:snippets                            builds, then all blocks
 *   node scripts/snippets.mjs README.md docs/a.md    some files, against the last build
 *
 * A block is a module of its own. By default it must run to its end and exit 0; one that imports vitest is run as a
 * test file. A comment on the line before the block (blank lines may stand between) says otherwise:
 *
 *   <!-- snippet: run=until-ready -->   start it, wait for a line with a URL or "listening", SIGTERM, expect exit 0
 *   <!-- snippet: compile-only -->      only type-check it
 *   <!-- snippet: name=room.ts -->      other blocks of the same file may import it as "./room.js"
 *   <!-- snippet: timeout=60 -->        seconds it may take (30 by default)
 *   <!-- snippet: skip -->              needed before js, jsx, tsx and html blocks, which nothing here can check
 *
 * Generated files go to .snippets/, padded with blank lines so that every line number is the one in the document.
 */
import { spawn } from "node:child_process"
import fs from "node:fs"
import path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")
const out = path.join(root, ".snippets")
const stopTimeout = 15_000
const ready = /https?:\/\/|\blistening\b/i
const checked = new Set(["ts", "typescript", "mts"])
const uncheckable = new Set(["js", "javascript", "mjs", "cjs", "jsx", "tsx", "html"])

const problems = []
const problem = (where, message) => {
  problems.push(where)
  console.error(`\n${where}: ${message}`)
}

const documents = () => {
  if (process.argv.length > 2) return process.argv.slice(2).map((file) => path.relative(root, path.resolve(file)))
  const docs = path.join(root, "docs")
  const all = fs.existsSync(docs) ? fs.readdirSync(docs, { recursive: true }).map((file) => `docs/${file}`) : []
  return ["README.md", ...all.filter((file) => file.endsWith(".md")).sort()]
    .filter((file) => fs.existsSync(path.join(root, file)))
}

const directive = (text, where) => {
  const options = { run: "to-end", timeout: 30, compileOnly: false, skip: false, name: undefined }
  for (const word of text.trim().split(/\s+/)) {
    const [key, value] = word.split("=")
    if (word === "compile-only") options.compileOnly = true
    else if (word === "skip") options.skip = true
    else if (key === "run" && (value === "until-ready" || value === "to-end")) options.run = value
    else if (key === "timeout" && Number(value) > 0) options.timeout = Number(value)
    else if (key === "name" && /^[\w-]+\.ts$/.test(value ?? "")) options.name = value
    else problem(where, `"${word}" is not an option of a snippet (see scripts/snippets.mjs)`)
  }
  return options
}

/** Every fenced block of a document, with its options and the line its fence stands on. */
const blocksOf = (document) => {
  const lines = fs.readFileSync(path.join(root, document), "utf8").split(/\r?\n/)
  const blocks = []
  let options = ""
  for (let at = 0; at < lines.length; at++) {
    const comment = /^\s*<!--\s*snippet:(.*?)-->\s*$/.exec(lines[at])
    const fence = /^([\s>]*)(`{3,}|~{3,})\s*([\w+-]*)/.exec(lines[at])
    if (comment) {
      if (options !== "") problem(`${document}:${at}`, "a snippet comment with no block after it")
      options = comment[1]
    } else if (fence) {
      const [, indent, mark, language] = fence
      const start = at
      const prefix = new RegExp(`^[\\s>]{0,${indent.length}}`)
      const end = lines.findIndex((line, i) => i > start && new RegExp(`^[\\s>]*${mark}${mark[0]}*\\s*$`).test(line))
      at = end === -1 ? lines.length : end
      const code = lines.slice(start + 1, at).map((line) => line.replace(prefix, ""))
      const where = `${document}:${start + 1}`
      if (end === -1) problem(where, "this block is never closed")
      blocks.push({ document, where, line: start + 1, language: language.toLowerCase(), code, options })
      options = ""
    } else if (options !== "" && lines[at].trim() !== "") {
      problem(`${document}:${at + 1}`, "a snippet comment stands directly before its block")
      options = ""
    }
  }
  return blocks
}

/** Writes the blocks out; returns those to check. */
const extract = (blocks) => {
  const files = new Map()
  for (const block of blocks) {
    const options = directive(block.options || "run=to-end", block.where)
    if (!checked.has(block.language)) {
      if (uncheckable.has(block.language) && !options.skip) {
        problem(
          block.where,
          `a ${block.language} block is not checked: write it as ts, or put <!-- snippet: skip --> before it`
        )
      }
      continue
    }
    if (options.skip) problem(block.where, "a ts block cannot be skipped: use compile-only")
    const file = path.join(out, block.document, options.name ?? `line-${block.line}.ts`)
    if (files.has(file)) problem(block.where, `there are two blocks named ${options.name}`)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, "\n".repeat(block.line) + block.code.join("\n") + "\n")
    files.set(file, { ...block, ...options, file })
  }
  return files
}

/** One program over all blocks, with the project's settings, but the package as built. Emits JavaScript. */
const compile = (files) => {
  const config = ts.getParsedCommandLineOfConfigFile(path.join(root, "tsconfig.json"), {
    noEmit: false,
    noUnusedLocals: false,
    declaration: false,
    declarationMap: false,
    customConditions: [],
    rootDir: out,
    outDir: out
  }, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(text(diagnostic))
    }
  })
  const program = ts.createProgram([...files.keys()], config.options)
  for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
    const block = files.get(path.normalize(diagnostic.file?.fileName ?? ""))
    const line = diagnostic.file ? diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start).line + 1 : 0
    const where = block ? `${block.document}:${line}` : `${diagnostic.file?.fileName ?? "tsconfig.json"}:${line}`
    if (block) block.failed = true
    problem(where, `TS${diagnostic.code}: ${text(diagnostic)}${block ? ` (block at ${block.where})` : ""}`)
  }
  program.emit(undefined, (name, content, ...rest) => {
    const block = files.get(name.replace(/\.js\.map$/, ".ts"))
    if (block) content = JSON.stringify({ ...JSON.parse(content), sources: [path.join(root, block.document)] })
    ts.sys.writeFile(name, content, ...rest)
  })
}

const text = (diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")

/** Runs one compiled block. Resolves to what is wrong with it, if anything. */
const run = (block) =>
  new Promise((resolve) => {
    const script = block.file.replace(/\.ts$/, ".js")
    const isTest = block.code.some((line) => /from "(@effect\/)?vitest"/.test(line))
    const args = isTest
      ? [
        path.join(root, "node_modules/vitest/vitest.mjs"),
        "run",
        "--config",
        path.join(out, "vitest.config.mjs"),
        script
      ]
      : ["--enable-source-maps", script]
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
    const output = []
    let stage = block.run === "until-ready" ? "starting" : "running"
    let failure
    const giveUp = (message) => () => {
      failure = message
      child.kill("SIGKILL")
    }
    let timer = setTimeout(
      giveUp(
        stage === "starting" ? `printed no URL within ${block.timeout} s` : `did not end within ${block.timeout} s`
      ),
      block.timeout * 1000
    )
    const onLine = (line) => {
      output.push(line)
      if (stage !== "starting" || !ready.test(line)) return
      stage = "stopping"
      clearTimeout(timer)
      timer = setTimeout(giveUp(`did not stop within ${stopTimeout / 1000} s of SIGTERM`), stopTimeout)
      child.kill("SIGTERM")
    }
    createInterface({ input: child.stdout }).on("line", onLine)
    createInterface({ input: child.stderr }).on("line", (line) => output.push(line))
    child.on("close", (code, signal) => {
      clearTimeout(timer)
      if (failure === undefined && stage === "starting") {
        failure = `ended with ${signal ?? `exit code ${code}`} before it printed a URL`
      }
      if (failure === undefined && code !== 0) failure = `ended with ${signal ?? `exit code ${code}`}`
      resolve(failure && [failure, ...output].join("\n  "))
    })
  })

fs.rmSync(out, { recursive: true, force: true })
const files = extract(documents().flatMap(blocksOf))
if (files.size > 0) {
  if (!fs.existsSync(path.join(root, "dist/index.js"))) throw new Error("there is no dist: run `npm run build` first")
  fs.writeFileSync(
    path.join(out, "vitest.config.mjs"),
    `export default { test: { include: [".snippets/**/*.js"], pool: "forks", testTimeout: 30_000 } }\n`
  )
  compile(files)
}
let ran = 0
for (const block of files.values()) {
  if (block.compileOnly || block.failed) continue
  const failure = await run(block)
  ran++
  if (failure) problem(block.where, failure)
  else console.log(`ok ${block.where}`)
}
console.log(
  `\nsnippets: ${files.size} checked, ${ran} run, ${problems.length} problem${problems.length === 1 ? "" : "s"}`
)
process.exitCode = problems.length > 0 ? 1 : 0
