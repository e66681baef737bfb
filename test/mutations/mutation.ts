/** What a mutation is, where it is applied, and whether it can be. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** A change to the code that takes out one protection, and the test that fails with it. */
export interface Mutation {
  /** The law, finding or defect that comes back. */
  readonly of: string
  /** What becomes of the code. */
  readonly what: string
  /** The code as it is: in exactly one place under `src`, in whatever file and lines it stands. */
  readonly old: string
  readonly new: string
  /** The file of the test. */
  readonly file: string
  /** The name of the test, or as much of it as is written there in one piece. */
  readonly test: string
}

interface Place {
  readonly file: string
  readonly from: number
  readonly to: number
}

/** White space stands for any other, so that code may be moved and formatted anew. */
const patternOf = (text: string): RegExp =>
  new RegExp(text.trim().split(/\s+/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+"), "g")

/** The code of a project, by file. */
export const readSources = (root: string): ReadonlyMap<string, string> =>
  new Map(
    readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join("src", name))
      .map((file) => [file, readFileSync(join(root, file), "utf8")])
  )

/** All places where a text stands. */
export const placesOf = (text: string, sources: ReadonlyMap<string, string>): ReadonlyArray<Place> =>
  [...sources].flatMap(([file, code]) =>
    [...code.matchAll(patternOf(text))].map((found) => ({
      file,
      from: found.index,
      to: found.index + found[0].length
    }))
  )

/** Why a mutation cannot be tried, if so: its code or its test has changed, and the table has not. */
export const rotten = (
  mutation: Mutation,
  root: string,
  sources: ReadonlyMap<string, string>
): string | undefined => {
  const places = placesOf(mutation.old, sources)
  if (places.length !== 1) {
    const where = places.length === 0 ? "nowhere" : `in ${places.map(({ file }) => file).join(" and ")}`
    return `its code was expected in one place under src and is ${where}: correct \`old\`.`
  }
  const file = join(root, mutation.file)
  if (!existsSync(file)) return `there is no ${mutation.file}: correct \`file\`.`
  return readFileSync(file, "utf8").includes(mutation.test)
    ? undefined
    : `${mutation.file} has no test of this name: correct \`test\`.`
}

/** The code of a file with the mutation in place of what it was. */
export const mutated = (mutation: Mutation, code: string, { from, to }: Place): string =>
  code.slice(0, from) + mutation.new + code.slice(to)
