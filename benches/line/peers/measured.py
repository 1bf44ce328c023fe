
# After every peer: what it took, and what it found.
import resource
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
# Not ru_maxrss, which begins with the peak of the process that started this one.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(sum(u.ru_utime + u.ru_stime for u in used), int(peak) / 1024, *found)
