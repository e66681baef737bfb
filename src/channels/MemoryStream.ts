/**
 * The stream of one channel, in memory.
 *
 * @since 1.0.0
 */
import type { History, HistoryRequest, StreamOptions, Version } from "./Broker.js"
import type { Expiring } from "./ExpiringMap.js"
import type { Publication, StreamPosition } from "./Publication.js"

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const randomEpoch = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => letters[byte % letters.length]).join("")

/** Trimming moves the publications that stay only when at least so many have gone. */
const slack = 32

/**
 * Its epoch, its newest offset, and its newest publications: those up to that offset, without a hole.
 *
 * @internal
 */
export class MemoryStream implements Expiring {
  readonly epoch = randomEpoch()
  private offset = 0
  /** From `first` on; what was before is given up. */
  private publications: Array<Publication<string> | undefined> = []
  private first = 0
  private publicationsUntil = 0
  private until = 0
  private version: Version | undefined = undefined

  /** Keeps epoch and offset for `metaTtl` from now. */
  use(options: StreamOptions, now: number): void {
    this.until = now + Math.max(options.metaTtl, options.ttl)
  }

  get position(): StreamPosition {
    return { offset: this.offset, epoch: this.epoch }
  }

  /** The offset of the next publication, which must be appended at once. */
  get next(): number {
    return this.offset + 1
  }

  /** Whether it has this version, or a newer one. */
  has({ epoch, number }: Version): boolean {
    const known = this.version
    return known !== undefined && (epoch === "" || epoch === known.epoch) && number <= known.number
  }

  /** What is appended next has this version. */
  versioned(version: Version): void {
    this.version = version
  }

  append(publication: Publication<string>, options: StreamOptions, now: number): void {
    this.offset = publication.offset
    this.publications.push(publication)
    this.publicationsUntil = now + options.ttl
    while (this.count > options.size) this.publications[this.first++] = undefined
    if (this.first >= slack && this.first * 2 >= this.publications.length) {
      this.publications = this.publications.slice(this.first)
      this.first = 0
    }
  }

  read(request: HistoryRequest): History {
    const { limit = Infinity, reverse = false, since, stream } = request
    const most = Math.max(0, limit)
    const publications: Array<Publication<string>> = []
    const oldest = this.offset - Math.min(this.count, stream.size) + 1
    const add = (offset: number) => {
      const publication = this.publications[this.publications.length - 1 - (this.offset - offset)]
      if (publication !== undefined) publications.push(publication)
    }
    if (reverse) {
      const from = since === undefined ? this.offset : Math.min(this.offset, since.offset - 1)
      for (let offset = from; offset >= oldest && publications.length < most; offset--) add(offset)
    } else {
      const from = since === undefined ? oldest : Math.max(oldest, since.offset + 1)
      for (let offset = from; offset <= this.offset && publications.length < most; offset++) add(offset)
    }
    return { publications, position: this.position }
  }

  removePublications(): void {
    if (this.publications.length === 0) return
    this.publications = []
    this.first = 0
  }

  expire(now: number): boolean {
    if (now >= this.publicationsUntil) this.removePublications()
    return now >= this.until && this.count === 0
  }

  /** How many publications are kept, as far as they have not expired since the last look. */
  get count(): number {
    return this.publications.length - this.first
  }

  /** How much room they take, in publications. */
  get slots(): number {
    return this.publications.length
  }
}
