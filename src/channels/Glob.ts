/**
 * Patterns of names: `*` is any text, `?` is one UTF-16 unit.
 *
 * @since 1.0.0
 */

/**
 * Whether a name has the form of a pattern. Takes at most as many steps as both have characters, multiplied: whoever makes
 * names could make a regular expression take for ever.
 *
 * @internal
 */
export const globOf = (pattern: string): (name: string) => boolean => {
  const parts = pattern.replace(/\*+/g, "*")
  const least = parts.replaceAll("*", "").length
  return (name) => {
    if (name.length < least) return false
    let at = 0
    let part = 0
    // Where the last star stands, and up to where its text goes. More is tried when what follows it does not fit.
    let star = -1
    let end = 0
    while (at < name.length) {
      if (parts[part] === "*") {
        star = part++
        end = at
      } else if (part < parts.length && (parts[part] === "?" || parts[part] === name[at])) {
        part++
        at++
      } else if (star >= 0) {
        part = star + 1
        at = ++end
      } else return false
    }
    return part === parts.length || part === parts.length - 1 && parts[part] === "*"
  }
}
