// Situations that the program does not handle yet: `SERVER: NAME` of each.

export const PENDING: ReadonlySet<string> = new Set<string>([
  "nginx: chunks over a size limit wait, and are delivered in order once it is raised",
  "nginx: a limit of requests a second without Retry-After sets the pace",
  "nginx: a demanded client certificate is named, and every chunk waits",
  "nginx: plain HTTP at the port of TLS is named, and every chunk waits",
]);
