/**
 * Where JSON is not JSON.
 */

/**
 * What is wrong, and the offset at which it begins.
 */
export interface SyntaxProblem {
  readonly offset: number
  readonly message: string
}

class Stop {
  readonly problem: SyntaxProblem
  constructor(problem: SyntaxProblem) {
    this.problem = problem
  }
}

const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const scalar = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y
const space = /[ \t\r\n]*/y

/** Deeper than any configuration, and shallow enough for the stack. */
const deepest = 200

class Scanner {
  readonly text: string
  offset = 0

  constructor(text: string) {
    this.text = text
  }

  fail(message: string, offset = this.offset): never {
    throw new Stop({ offset, message })
  }

  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.offset
    const found = pattern.exec(this.text)?.[0]
    if (found !== undefined) this.offset += found.length
    return found
  }

  next(): string {
    this.take(space)
    return this.text.charAt(this.offset)
  }

  /** Tells what is there only if it is JSON's own: anything else may be the beginning of a secret. */
  expect(what: string): never {
    const found = this.next()
    const shown = found === "" ? "the end of the text" : JSON.stringify(found)
    return this.fail(`expected ${what}${/^[^{}[\],:"]/.test(found) ? "" : `, got ${shown}`}`)
  }

  string(what: string): string {
    if (this.next() !== "\"") this.expect(what)
    return this.take(string) ?? this.fail("a text that does not end in its line, or an escape that JSON does not have")
  }

  members(close: string, member: () => void): void {
    this.offset++
    if (this.next() !== close) {
      for (member(); this.next() === ","; member()) this.offset++
    }
    if (this.next() !== close) this.expect(`"," or ${JSON.stringify(close)}`)
    this.offset++
  }

  value(depth: number): void {
    const first = this.next()
    if (depth > deepest) this.fail("too deep")
    if (first === "{") {
      const keys = new Set<string>()
      this.members("}", () => {
        this.next()
        const start = this.offset
        const key = this.string("a key in double quotes")
        if (keys.has(key)) this.fail(`the key ${key} is there twice`, start)
        keys.add(key)
        if (this.next() !== ":") this.expect("\":\"")
        this.offset++
        this.value(depth + 1)
      })
    } else if (first === "[") {
      this.members("]", () => this.value(depth + 1))
    } else if (first === "\"") {
      this.string("a text")
    } else if (this.take(scalar) === undefined) {
      this.expect("a value")
    }
  }
}

/**
 * The first place at which a text is not JSON, or where a key of an object comes again.
 */
export const syntaxError = (text: string): SyntaxProblem | undefined => {
  const scanner = new Scanner(text)
  try {
    scanner.value(0)
    if (scanner.next() !== "") scanner.expect("the end of the text")
    return undefined
  } catch (error) {
    if (error instanceof Stop) return error.problem
    throw error
  }
}
