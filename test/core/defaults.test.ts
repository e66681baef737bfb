/** What holds of a hub unless it is configured, and what the documents say of it. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Either } from "effect"
import { HubConfig } from "effect-ws-hub"
import { readFileSync } from "node:fs"

const defaults: HubConfig.HubConfig = {
  messageBytes: 65536,
  inboxBytes: 262144,
  outboxBytes: 1048576,
  overflow: "disconnect",
  connections: 100000,
  connectionsPerAddress: Infinity,
  handshakeTimeout: 10_000,
  messagesPerSecond: 1000,
  messageBurst: 2000,
  rateLimit: "close",
  heartbeatInterval: 25_000,
  heartbeatTimeout: 10_000,
  drainDeadline: 10_000,
  drainPace: 10000,
  closeGrace: 2000
}

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8")

/** A default as a table writes it: "65536", "`close`", "off", "10 seconds", "10 s", "10000/s". */
const valueOf = (text: string): unknown => {
  const word = text.replaceAll("`", "")
  if (word === "off") return Infinity
  const [, number, unit] = /^(\d+)(?:\/s| (s|seconds))?$/.exec(word) ?? []
  if (number === undefined) return word
  return unit === undefined ? Number(number) : Duration.toMillis(Duration.seconds(Number(number)))
}

/** The column of a table's rows that begin with names of options, by name. */
const column = (markdown: string, at: number): Record<string, unknown> =>
  Object.fromEntries(
    markdown.split("\n").filter((line) => line.startsWith("| `")).flatMap((line) => {
      const cells = line.split("|").map((cell) => cell.trim())
      const names = (cells[1] ?? "").split(", ").map((name) => name.replaceAll("`", ""))
      const values = (cells[at] ?? "").split(", ")
      return names.flatMap((name, index) => name in defaults ? [[name, valueOf(values[index] ?? "")]] : [])
    })
  )

describe("the defaults of a hub", () => {
  it("are these, in bytes, milliseconds and counts", () => {
    assert.deepStrictEqual(Either.getOrThrow(HubConfig.make({})), defaults)
  })

  it("are those of the table in the README, whose keys are those of `Config`", () => {
    const table = read("README.md").split("\n## Limits\n")[1]?.split("\n## ")[0] ?? ""
    assert.deepStrictEqual(column(table, 3), { ...defaults })
    for (const [, name, key] of table.matchAll(/^\| `(\w+)` \| `(\w+)` \|/gm)) {
      assert.strictEqual(key, `HUB_${name?.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`)
    }
  })

  it("are those of the tables in docs/limits.md", () => {
    const text = read("docs/limits.md")
    const { outboxBytes, overflow, rateLimit, ...inTables } = defaults
    assert.deepStrictEqual(column(text, 2), inTables)
    assert.include(text, `\`outboxBytes\` (${outboxBytes})`)
    assert.include(text, `| \`${overflow}\` (default) |`)
    assert.include(text, `\`rateLimit: "${rateLimit}"\``)
  })

  it("are those that the options themselves tell", () => {
    const text = read("src/core/HubConfig.ts").split("export interface HubOptions {")[1]?.split("\n}\n")[0] ?? ""
    const source = text.replaceAll(/\n\s+\* /g, " ")
    const told = Object.fromEntries(
      Array.from(
        source.matchAll(/(?:Defaults to `?([\w-]+(?: seconds)?)|(Off) by default)[^;]*?readonly (\w+)\?/g),
        ([, value, off, name]) => [name, valueOf(value ?? String(off).toLowerCase())]
      )
    )
    assert.deepStrictEqual(told, { ...defaults })
  })
})
