import Formats

/// A moment by the clock on the wall, for templates that say what day it is.
public struct TemplateDate: Sendable, Equatable {
    public var year: Int
    /// 1 to 12.
    public var month: Int
    /// 1 to 31.
    public var day: Int
    public var hour: Int
    public var minute: Int
    public var second: Int
    /// 0 is Sunday.
    public var weekday: Int
    /// 1 to 366.
    public var dayOfYear: Int

    public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0, weekday: Int, dayOfYear: Int) {
        (self.year, self.month, self.day) = (year, min(max(month, 1), 12), day)
        (self.hour, self.minute, self.second) = (hour, minute, second)
        (self.weekday, self.dayOfYear) = (min(max(weekday, 0), 6), dayOfYear)
    }

    /// As C's `strftime` writes it in the C locale; `nil` for a directive that is not known here.
    func formatted(_ format: String) -> String? {
        var text = ""
        var scalars = format.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "%" else {
                text.unicodeScalars.append(scalar)
                continue
            }
            var directive = scalars.next()
            let isUnpadded = directive == "-"
            if isUnpadded { directive = scalars.next() }
            guard let directive, let part = part(directive) else { return nil }
            text += isUnpadded ? String(part.drop { $0 == "0" || $0 == " " }.isEmpty ? "0" : part.drop { $0 == "0" || $0 == " " }) : part
        }
        return text
    }

    private func part(_ directive: Unicode.Scalar) -> String? {
        let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
        ]
        let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
        let hours = hour % 12 == 0 ? 12 : hour % 12
        switch directive {
        case "Y": return padded(year, 4)
        case "y": return padded(year % 100, 2)
        case "m": return padded(month, 2)
        case "B": return months[month - 1]
        case "b", "h": return String(months[month - 1].prefix(3))
        case "d": return padded(day, 2)
        case "e": return (day < 10 ? " " : "") + "\(day)"
        case "j": return padded(dayOfYear, 3)
        case "A": return days[weekday]
        case "a": return String(days[weekday].prefix(3))
        case "w": return "\(weekday)"
        case "H": return padded(hour, 2)
        case "I": return padded(hours, 2)
        case "M": return padded(minute, 2)
        case "S": return padded(second, 2)
        case "p": return hour < 12 ? "AM" : "PM"
        case "F": return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
        case "T": return "\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2))"
        case "D": return "\(padded(month, 2))/\(padded(day, 2))/\(padded(year % 100, 2))"
        case "%": return "%"
        default: return nil
        }
    }

    private func padded(_ number: Int, _ width: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
